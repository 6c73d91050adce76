// Command static does nothing, and needs no loader for it.
package main

func main() {}
