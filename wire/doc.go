// Package wire is what edge and hub say to each other: version 1 of the frames, their limits, and the token that enrols an edge.
//
// A frame is `type varint | length varint | payload`, the varints as in QUIC (RFC 9000, section 16), the payload CBOR in core
// deterministic encoding (RFC 8949, section 4.2.1). [WriteFrame] and [ReadFrame] are the only coder and decoder; [Type] lists the
// frames. Connections are QUIC with TLS 1.3 under the ALPN [Protocol]; the first frame of a connection is a [Hello] on the control
// stream, and each transaction has a stream of its own.
//
// # Versions
//
// The major version is the ALPN's. Within one, a receiver skips frames of even types that it does not know and ends the connection at odd
// ones, ignores fields that it does not know, and insists on those that it does: a missing field, a value of another
// type, an id of another length make the frame [ErrMalformed]. What changes the meaning of a frame is only said to a side that has set
// the [Features] bit for it in its hello.
//
// # Limits
//
// Each type has a largest payload, each field a largest size (see the constants). Both are checked before a frame is written and
// after it is read, so that no side can be made to hold more than one largest frame for each stream. A frame beyond a limit ends the
// connection; nothing of it has been acted upon.
//
// Functions here may be called from any number of goroutines; they block only as their reader or writer does, and hold no state.
package wire
