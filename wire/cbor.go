package wire

import (
	"bytes"
	"errors"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Limits of the encoding, whatever is encoded.
const (
	nestingMax  = 8
	elementsMax = 2048
	fieldsMax   = 64
)

var encoder = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty // one encoding of an empty list
	return must(o.EncMode())
}()

var decoder = must(cbor.DecOptions{
	DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: nestingMax, MaxArrayElements: elementsMax, MaxMapPairs: fieldsMax,
	IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic("wire: " + err.Error())
	}
	return v
}

func encode(m any) ([]byte, error) { return encoder.Marshal(m) }

var errFields = errors.New("a field is missing or has another size or type than this version's")

// decode reads a message. It is compiled anew for each one, and therefore short.
func decode[M message](b []byte) (M, error) {
	var m, none M
	if err := read(b, &m); err != nil {
		return none, err
	}
	return m, m.Validate()
}

// read reads what a message's pointer m points to. The library takes a missing field for a zero and fits a byte string into an array of
// another length: such a message is refused by encoding again what was understood, all of which must be found in b.
func read(b []byte, m any) error {
	if err := decoder.Unmarshal(b, m); err != nil {
		return err
	}
	again, err := encode(m)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		var said, understood any
		if err := errors.Join(decoder.Unmarshal(b, &said), decoder.Unmarshal(again, &understood)); err != nil {
			return err
		}
		if !holds(said, understood) {
			return errFields
		}
	}
	return nil
}

// holds says whether everything in part stands in whole as well; maps in whole may have more.
func holds(whole, part any) bool {
	switch part := part.(type) {
	case map[any]any:
		w, ok := whole.(map[any]any)
		if !ok {
			return false
		}
		for k, v := range part {
			if in, ok := w[k]; !ok || !holds(in, v) {
				return false
			}
		}
		return true
	case []any:
		w, ok := whole.([]any)
		if !ok || len(w) != len(part) {
			return false
		}
		for i, v := range part {
			if !holds(w[i], v) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(whole, part)
	}
}
