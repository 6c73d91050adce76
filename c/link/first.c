/*
 * Asks for the library, ahead of the program that does: this object and the library are
 * what a linker finds as libcapsicum.so. Otherwise one that leaves out libraries that
 * nothing before them asks for would leave it out where it is named before the sources.
 */
extern int cap_enter(void);

__attribute__((used, section(".capsicum"))) static int (*const first)(void) = cap_enter;
