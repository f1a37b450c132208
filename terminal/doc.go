// Package terminal is the endpoint that tills are pointed at: JSON over HTTP/1.1 and HTTP/2, pairing, and the words that a till
// shows when something is wrong. It asks the house behind it, the [Desk], for one thing: that a request be accepted; and waits for
// what becomes of it.
//
// # Nouns
//
// A [Server] listens and speaks HTTP. A [Desk] is what it needs of the house. A [Caller] is a till that was let in. A [Book] holds
// the pairing codes that are alive, a [Roster] the tills that are allowed in. A [Feed] tells a till's transactions as they change; a
// stream writes them as Server-Sent Events.
//
// # Promises
//
//   - An answer of 200 or 202 is written only after the desk has returned: by then the transaction is on disk.
//   - A request is read whole, checked whole, and then handed over once; a refusal names every field that is wrong.
//   - A wait ends with the transaction's end, with its time, with the till's connection or with the endpoint's draining, whichever
//     comes first; the last one answers what is known (202).
//   - A stream tells a till each end until it is acknowledged, and each change that it has not been told; never another till's. It holds
//     what is being written, and no more however slowly the till reads. It ends with the till's leave to be there.
//   - A desk that must not answer ([ErrAbort]) is not answered for: the connection is closed.
//   - Everything that a stranger can hold is limited: see the constants.
//   - What is served is what openapi.json says, and that is served too: tests hold every answer to it.
//
// # Caveats
//
// The endpoint never decides about money. It judges the shape of a request (JSON, types, names); what the request means is judged
// by the desk, inside the accepting commit.
package terminal
