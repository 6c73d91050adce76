/* A program that needs its loader and its library. */
#include <stdlib.h>

int main(void) { exit(42); }
