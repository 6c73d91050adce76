package sysno

// Native is the interface of programs built like this one.
const Native = ARM64
