// Package conf reads a program's TOML file into one typed struct, strictly, and remembers where each value came from, so that every
// complaint names file, line and key.
//
// # Shape
//
// A configuration is a struct whose exported fields carry a tag `toml:"name"`; a nested struct is a table, a slice of structs an
// array of tables. A leaf is a string, a bool, an int or int64, a [time.Duration], a [Size], a list of strings, a pointer to one of
// these (nil: not given), or anything that implements [encoding.TextUnmarshaler] and reads a TOML string. What the struct holds when
// [Load] is called are the defaults.
//
// # Where values come from
//
// Flags over environment over file over default. The variable of a key is the prefix and the key's path in capitals, joined by
// underscores: endpoint.listen of the edge is TIDEOVER_ENDPOINT_LISTEN. Lists are comma-separated there; arrays of tables have no
// variables. An empty variable counts as one that is not set.
//
// # Complaints
//
// An unknown key, a key given twice, a value of the wrong type or form: each is an [Error]. Load returns all it can find at once, as
// [Errors], in the order of their lines. The program's own checks add theirs through [File.Reject], and [File.Err] returns them.
package conf
