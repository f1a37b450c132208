// Package rules says whether a request may be taken, and why not. It is pure: what it looks at is handed in, it reads no clock and
// does no I/O, and the same request over the same view has the same answer.
//
// # Nouns
//
// [Malformed] judges a request by itself. [Rules] are what a shop says: its [Limits], and what it takes for [Duplicates]. [Rules.Judge] holds a
// [Press] against them over a [View] of what is on the queue. A refusal is a [*tideover.Refusal] that says in both languages what is wrong and what to do next.
// [Rules.Check] finds rules that no shop can mean, and such as contradict each other.
// [CardData] and [CardText] refuse card data that may not be stored, before any other rule.
//
// # Promises
//
//   - A request is judged once, inside the commit that accepts it, in commit order: the view holds every earlier one.
//   - Limits on what is stored while the hub is out of reach never stop a reversal: it only ever takes risk away.
//   - Card data is refused and never masked, and a refusal repeats nothing of it.
//
// # Caveats
//
// A card's number is known by its form: about one in ten of other numbers that begin and are as long as a card's is taken for one. See
// docs/decisions/012-card-data-is-refused-by-its-form.md.
package rules
