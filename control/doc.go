// Package control is the technician's API: HTTP over a Unix socket, and its client. The commands of `tideover` are that client; a page
// or a script may be another.
//
// # Nouns
//
// A [Server] listens and answers out of a [Backend], which the daemon implements. A [Client] asks. Both speak the types of this package,
// and every reading command's --json prints those very types. A [Peer] is who is at the other end of the socket, as the kernel says.
//
// # Promises
//
//   - The socket is there, whole and with its mode, from the moment that [Server.Listen] returns: it is bound under another name and
//     renamed.
//   - A lock beside the socket says whether its owner lives. A socket left behind by a killed daemon is replaced; that of a living
//     one never is, nor anything at that path that is not a socket.
//   - Only root and the daemon's own user are answered.
//   - Nothing here carries a payload, an instrument or a token. A pairing code is said once, to who asked for it.
package control
