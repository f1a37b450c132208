package wire

import (
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go/quicvarint"
)

// Limits of frames.
const (
	// SubmitMax is the largest payload of a frame that carries a request: one of [PayloadMax] with every field full. Frames that may
	// carry one in passing may be as large.
	SubmitMax = 128 << 10
	// ListMax is the largest payload of a frame that carries the list of terminals: TerminalsMax of them with every field full.
	ListMax = 640 << 10
	// SmallMax is the largest payload of every other frame.
	SmallMax = 8 << 10
	// SkippedMax is how many frames of unknown even types may stand before one that is known; their payloads are at most ListMax.
	SkippedMax = 16
)

// Errors of [ReadFrame] and [WriteFrame]; what the reader or writer itself returns comes wrapped instead. After any of them the stream
// is of no more use, and its peer breaks the protocol.
var (
	ErrTooLarge    = errors.New("frame beyond its limit")
	ErrMalformed   = errors.New("malformed frame")
	ErrUnknownType = errors.New("frame of an unknown critical type")
	ErrWrongSide   = errors.New("frame of a type that the other side may not send")
)

// Side is one end of a connection.
type Side uint8

// The sides, as [ReadFrame] wants them: who has written what is read.
const (
	FromEdge Side = iota + 1
	FromHub
)

// message is what a frame carries; Validate returns what breaks a limit or a rule of the protocol.
type message interface{ Validate() error }

// frameType says everything about a type of frames.
type frameType struct {
	from   Side
	max    int // bytes of payload
	decode func([]byte) (any, error)
}

func frameOf[M message](from Side, largest int) frameType {
	return frameType{from: from, max: largest, decode: func(b []byte) (any, error) { return decode[M](b) }}
}

// frameTypes is the list of the frames of version 1.
var frameTypes = map[Type]frameType{
	TypeHello:         frameOf[Hello](FromEdge, SmallMax),
	TypeWelcome:       frameOf[Welcome](FromHub, SmallMax),
	TypeConfirmation:  frameOf[Confirmation](FromHub, SubmitMax),
	TypeCaughtUp:      frameOf[CaughtUp](FromHub, SmallMax),
	TypeAck:           frameOf[Ack](FromEdge, SmallMax),
	TypeTerminals:     frameOf[Terminals](FromEdge, ListMax),
	TypeTerminalsKept: frameOf[TerminalsKept](FromHub, SmallMax),
	TypeOpen:          frameOf[Open](FromHub, SubmitMax),
	TypeGoAway:        frameOf[GoAway](FromHub, SmallMax),
	TypeAnchor:        frameOf[Anchor](FromEdge, SmallMax),
	TypeReplayed:      frameOf[Replayed](FromEdge, SmallMax),
	TypeSubmit:        frameOf[Submit](FromEdge, SubmitMax),
	TypeAsk:           frameOf[Ask](FromEdge, SmallMax),
	TypeCancel:        frameOf[Cancel](FromEdge, SmallMax),
	TypeExpire:        frameOf[Expire](FromEdge, SubmitMax),
	TypeGot:           frameOf[Got](FromHub, SmallMax),
	TypeProgress:      frameOf[Progress](FromHub, SmallMax),
	TypeRefused:       frameOf[Refused](FromHub, SubmitMax),
	TypeSettle:        frameOf[Settle](FromEdge, SubmitMax),
	TypeReplay:        frameOf[Replay](FromEdge, SubmitMax),
	TypeReconcile:     frameOf[Reconcile](FromEdge, SmallMax),
	TypeBooked:        frameOf[Booked](FromHub, SubmitMax),
	TypeBalanced:      frameOf[Balanced](FromHub, SmallMax),
	TypeEnroll:        frameOf[Enroll](FromEdge, SmallMax),
	TypeEnrolled:      frameOf[Enrolled](FromHub, ListMax),
}

// WriteFrame writes msg, a message of type t by value, with a single Write. A message that breaks a limit is not written: the error
// is then [ErrMalformed] or [ErrTooLarge], and the stream is as it was.
func WriteFrame(w io.Writer, t Type, msg any) error {
	frame, err := AppendFrame(nil, t, msg)
	if err != nil {
		return err
	}
	if _, err := w.Write(frame); err != nil {
		return fmt.Errorf("write frame %d: %w", t, err)
	}
	return nil
}

// AppendFrame appends what [WriteFrame] writes to b.
func AppendFrame(b []byte, t Type, msg any) ([]byte, error) {
	ft, ok := frameTypes[t]
	m, isMessage := msg.(message)
	if !ok || !isMessage {
		panic(fmt.Sprintf("wire: a %T under frame type %d", msg, t))
	}
	if err := m.Validate(); err != nil {
		return b, fmt.Errorf("frame %d: %w: %w", t, ErrMalformed, err)
	}
	payload, err := encode(m)
	if err != nil {
		return b, fmt.Errorf("frame %d: %w: %w", t, ErrMalformed, err)
	}
	if len(payload) > ft.max {
		return b, fmt.Errorf("frame %d: %w: %d bytes, at most %d", t, ErrTooLarge, len(payload), ft.max)
	}
	b = quicvarint.Append(b, uint64(t))
	b = quicvarint.Append(b, uint64(len(payload)))
	return append(b, payload...), nil
}

// ReadFrame reads the next frame that a side has sent and this version knows; it skips others that may be skipped. The message comes by value
// (a [Hello], not a pointer to one) and has passed its Validate.
//
// Where the stream ends before a frame begins the error is io.EOF itself; within a frame it is io.ErrUnexpectedEOF. An error of r is wrapped.
func ReadFrame(r io.Reader, from Side) (Type, any, error) {
	br := quicvarint.NewReader(r)
	for range SkippedMax + 1 {
		number, err := quicvarint.Read(br)
		if err != nil {
			return 0, nil, beginning(err)
		}
		t := Type(number)
		length, err := quicvarint.Read(br)
		if err != nil {
			return t, nil, within(t, err)
		}
		ft, known := frameTypes[t]
		switch {
		case !known && t%2 == 1:
			return t, nil, fmt.Errorf("frame %d: %w", t, ErrUnknownType)
		case !known:
			ft.max = ListMax
		case ft.from != from:
			return t, nil, fmt.Errorf("frame %d: %w", t, ErrWrongSide)
		}
		if length > uint64(ft.max) {
			return t, nil, fmt.Errorf("frame %d: %w: %d bytes, at most %d", t, ErrTooLarge, length, ft.max)
		}
		if !known {
			if _, err := io.CopyN(io.Discard, br, int64(length)); err != nil {
				return t, nil, within(t, err)
			}
			continue
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(br, payload); err != nil {
			return t, nil, within(t, err)
		}
		msg, err := ft.decode(payload)
		if err != nil {
			return t, nil, fmt.Errorf("frame %d: %w: %w", t, ErrMalformed, err)
		}
		return t, msg, nil
	}
	return 0, nil, fmt.Errorf("%w: more than %d unknown frames in a row", ErrTooLarge, SkippedMax)
}

// beginning is what an error means before the first byte of a frame was read. A type of several bytes that breaks off reads as an end of the
// stream too; nothing is lost by that.
func beginning(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("read frame: %w", err)
}

// within is what an error means inside a frame.
func within(t Type, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read frame %d: %w", t, err)
}
