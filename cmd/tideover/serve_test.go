package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestNewLog_MasksCardData(t *testing.T) {
	var b bytes.Buffer
	newLog(&b).Info("paid with 4111111111111111", "err", errors.New("no 4111111111111111"))
	if strings.Contains(b.String(), "4111111111111111") || strings.Count(b.String(), "411111******1111") != 2 {
		t.Error(b.String())
	}
}
