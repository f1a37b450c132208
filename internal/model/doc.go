// Package model holds a model of the whole protocol, and nothing else: all of it is in its tests.
//
// # What it is
//
// A world is tills, routers, hubs, a ledger (or, in a broken world, two), a payment platform and the network between them. It has no
// clock, no disk and no socket. What the router and the hub decide in it is decided by the product's own code: the tables of the root,
// the records and decisions of package edge, the steps of package hub/ledger. The model only carries: it puts events on a disk that a
// crash cuts short, frames into a network that loses, doubles, delays and reorders them, calls to a platform that is silent or slow.
//
// # How it is used
//
// Small worlds are explored exhaustively, breadth first, so that a counterexample is as short as any; large ones by random walks. After
// each step every promise is checked, and from many states all faults are stopped and everybody runs to the end: then nothing may be
// open but what a person must settle, and every till has heard an end that agrees with the platform.
//
// For each rule of the protocol that closes a hole there is a mutation: the world with that rule left out. A test fails if such a world
// keeps its promises after all: then either the rule is not needed, or the model cannot see what it is for.
//
// # Knobs
//
// TIDEOVER_SEED makes other walks than the usual ones, or repeats those of a failed run, which prints it. TIDEOVER_NIGHTLY=1 walks for
// longer and each time elsewhere, and explores wider worlds; -short leaves most of them out.
package model
