/*
 * A charset that the C library has no code of its own for, EUC-JP: its characters are
 * still read and written by a program that sees none before it is confined.
 */
#define _GNU_SOURCE
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <wchar.h>

#include "check.h"

int main(void)
{
	wchar_t c = 0;
	mbstate_t state;
	char bytes[64];

	alarm(60);
	memset(&state, 0, sizeof state);
	CHECK(setlocale(LC_ALL, ""));
	CHECK(strcmp(nl_langinfo(CODESET), "EUC-JP") == 0);
	errno = 77;
	SUCCEEDS(caph_limit_stdio());
	SUCCEEDS(cap_enter());
	CHECK(errno == 77);
	CHECK(mbrtowc(&c, "\xa4\xa2", 2, &state) == 2 && c == 0x3042);
	CHECK(MB_CUR_MAX <= sizeof bytes && wcrtomb(bytes, c, &state) == 2 && memcmp(bytes, "\xa4\xa2", 2) == 0);
	CHECK(wprintf(L"%lc\n", (wint_t)c) == 2 && fflush(stdout) == 0);
	return 0;
}
