package wire

import "github.com/quic-go/quic-go"

// Why a side closes a connection; the close's text says it in English, for logs.
const (
	CloseDone     quic.ApplicationErrorCode = 0 // nothing more to say
	CloseDraining quic.ApplicationErrorCode = 1 // this side is stopping: dial another address, or again
	CloseProtocol quic.ApplicationErrorCode = 2 // the other side broke the protocol
	CloseRevoked  quic.ApplicationErrorCode = 3 // the store's certificate is no longer the valid one
	CloseBusy     quic.ApplicationErrorCode = 4 // a limit is reached: dial again later
	CloseInternal quic.ApplicationErrorCode = 5 // this side failed
)

// Why a side ends a stream early.
const (
	StreamDone quic.StreamErrorCode = 0 // it does not need the rest
	StreamSlow quic.StreamErrorCode = 1 // the other side took too long
)
