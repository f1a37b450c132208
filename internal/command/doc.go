// Package command is the tree of commands behind the edge's command line: it finds the one that was called, has pflag read its flags,
// and runs it. It has what `tideover` uses of cobra, under cobra's names, and behaves like it; a test compares the two. Why it is not
// cobra: docs/decisions/017.
//
// # Nouns
//
// A [Command] is a node of the tree; the root is the program. A command has flags of its own, and persistent ones that are also its
// descendants'. Flags may stand anywhere: before, between and after the words that name a command. "--" ends them.
//
// # Promises
//
//   - It prints nothing, and ends no process: help and complaints are the root's to make.
//   - Nothing of a command is run before its flags are read and its arguments are taken.
package command
