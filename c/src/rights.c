/* cap_rights_init(3) and its family: sets of rights, without any system call. */
#include <sys/capsicum.h>

#include <stdarg.h>
#include <stdlib.h>

#include "library.h"

#undef cap_rights_init
#undef cap_rights_set
#undef cap_rights_clear
#undef cap_rights_is_set

#define PAYLOAD ((1ULL << 57) - 1)

static const uint64_t markers[2] = {CAP_NONE0, CAP_NONE1};

static const uint64_t all[2] = {CAP_ALL0, CAP_ALL1};

/*
 * The word that a right is of. A wrong one can only come from a mistake in the
 * program, such as rights of different words ORed together, and any reading of it
 * could widen a limit.
 */
static int word_of(uint64_t right)
{
	for (int i = 0; i < 2; i++)
		if ((right & ~PAYLOAD) == markers[i])
			return i;
	abort();
}

static void checked(const cap_rights_t *r)
{
	for (int i = 0; i < 2; i++)
		if ((r->cr_rights[i] & ~PAYLOAD) != markers[i])
			abort();
}

static void none(cap_rights_t *r)
{
	r->cr_rights[0] = CAP_NONE0;
	r->cr_rights[1] = CAP_NONE1;
}

static void vset(cap_rights_t *r, va_list list)
{
	uint64_t right;

	checked(r);
	while ((right = va_arg(list, uint64_t)) != 0)
		r->cr_rights[word_of(right)] |= right;
}

static void vclear(cap_rights_t *r, va_list list)
{
	uint64_t right;

	checked(r);
	while ((right = va_arg(list, uint64_t)) != 0)
		r->cr_rights[word_of(right)] &= ~(right & PAYLOAD);
}

static bool vis_set(const cap_rights_t *r, va_list list)
{
	uint64_t right;
	bool set = true;

	checked(r);
	while ((right = va_arg(list, uint64_t)) != 0)
		if (right & ~r->cr_rights[word_of(right)])
			set = false;
	return set;
}

#define LIST(call)							\
	va_list list;							\
	va_start(list, rights);						\
	call;								\
	va_end(list)

PUBLIC cap_rights_t *__cap_rights_init(int version, cap_rights_t *rights, ...)
{
	if (version != CAP_RIGHTS_VERSION_00)
		abort();
	none(rights);
	LIST(vset(rights, list));
	return rights;
}

PUBLIC cap_rights_t *cap_rights_init(cap_rights_t *rights, ...)
{
	none(rights);
	LIST(vset(rights, list));
	return rights;
}

#define VARIADIC(name)							\
PUBLIC cap_rights_t *__cap_rights_##name(cap_rights_t *rights, ...)	\
{									\
	LIST(v##name(rights, list));					\
	return rights;							\
}									\
PUBLIC cap_rights_t *cap_rights_##name(cap_rights_t *rights, ...)	\
{									\
	LIST(v##name(rights, list));					\
	return rights;							\
}

VARIADIC(set)
VARIADIC(clear)

PUBLIC bool __cap_rights_is_set(const cap_rights_t *rights, ...)
{
	bool set;
	LIST(set = vis_set(rights, list));
	return set;
}

PUBLIC bool cap_rights_is_set(const cap_rights_t *rights, ...)
{
	bool set;
	LIST(set = vis_set(rights, list));
	return set;
}

PUBLIC bool cap_rights_is_valid(const cap_rights_t *r)
{
	for (int i = 0; i < 2; i++)
		if ((r->cr_rights[i] & ~PAYLOAD) != markers[i] || r->cr_rights[i] & ~all[i])
			return false;
	return true;
}

PUBLIC bool cap_rights_is_empty(const cap_rights_t *r)
{
	return r->cr_rights[0] == CAP_NONE0 && r->cr_rights[1] == CAP_NONE1;
}

PUBLIC cap_rights_t *cap_rights_merge(cap_rights_t *dst, const cap_rights_t *src)
{
	checked(dst);
	checked(src);
	for (int i = 0; i < 2; i++)
		dst->cr_rights[i] |= src->cr_rights[i];
	return dst;
}

PUBLIC cap_rights_t *cap_rights_remove(cap_rights_t *dst, const cap_rights_t *src)
{
	checked(dst);
	checked(src);
	for (int i = 0; i < 2; i++)
		dst->cr_rights[i] &= ~(src->cr_rights[i] & PAYLOAD);
	return dst;
}

PUBLIC cap_rights_t *cap_rights_intersect(cap_rights_t *dst, const cap_rights_t *src)
{
	checked(dst);
	checked(src);
	for (int i = 0; i < 2; i++)
		dst->cr_rights[i] &= src->cr_rights[i];
	return dst;
}

PUBLIC bool cap_rights_contains(const cap_rights_t *big, const cap_rights_t *little)
{
	checked(big);
	checked(little);
	return (little->cr_rights[0] & ~big->cr_rights[0]) == 0 &&
	    (little->cr_rights[1] & ~big->cr_rights[1]) == 0;
}
