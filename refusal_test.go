package tideover_test

import (
	"errors"
	"fmt"
	"testing"

	"tideover"
)

func TestRefuse_SpeaksBothLanguages(t *testing.T) {
	r := tideover.Refuse(tideover.CodeAmountAboveLimit, "the amount %d is above %d", "金额 %d 超过上限 %d", 1299, 1000)
	if got, want := r.Detail.In(tideover.English), "the amount 1299 is above 1000"; got != want {
		t.Errorf("en: %q, want %q", got, want)
	}
	if got, want := r.Detail.In(tideover.Chinese), "金额 1299 超过上限 1000"; got != want {
		t.Errorf("zh: %q, want %q", got, want)
	}
	if got := r.Detail.In("fr"); got != r.Detail.En {
		t.Errorf("a language that is not spoken reads %q", got)
	}
	if got, want := tideover.Textf("%s of %s", "%[2]s的%[1]s", "till", "shop").Zh, "shop的till"; got != want {
		t.Errorf("zh in its own order: %q, want %q", got, want)
	}
}

func TestRefusal_IsFoundThroughWrapping(t *testing.T) {
	err := fmt.Errorf("accept: %w", tideover.Refuse(tideover.CodeStorageFull, "the disk is full", "磁盘已满"))
	r, ok := errors.AsType[*tideover.Refusal](err)
	if !ok || r.Code != tideover.CodeStorageFull {
		t.Fatalf("%v holds no refusal", err)
	}
	if got, want := err.Error(), "accept: storage_full: the disk is full"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
