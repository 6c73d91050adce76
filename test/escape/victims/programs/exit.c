/* A program without a library that exits with STATUS. */
void _start(void)
{
#ifdef __i386__
	__asm__ volatile("int $0x80" : : "a"(1), "b"(STATUS));
#elif defined(__x86_64__)
	__asm__ volatile("syscall" : : "a"(60), "D"(STATUS));
#endif
	__builtin_unreachable();
}
