package daemon

import (
	"errors"
	"net/http"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/queue"
)

// SalvageStore finds what is still to be read in a damaged journal that no daemon has open: at path, or the state directory's own where that
// is "". Where out is not "" it makes a new file of that, for [RestoreStore]. A file that is looked at elsewhere than on its own machine may
// be looked at without its key, but no new file is made then.
func SalvageStore(c Config, path, out string) (control.Salvaged, error) {
	s := queue.Salvager{Path: path, Out: out}
	id, err := install.Load(c.StateDir)
	switch {
	case err == nil:
		keys := queueKeys(id.QueueKeys)
		s.Key, s.Store, s.Secret = &keys, id.Store, id.StoreSecret[:]
	case path == "" || out != "":
		return control.Salvaged{}, err
	}
	if path == "" {
		s.Path = QueuePath(c.StateDir)
	}
	found, err := queue.SalvageFile(s)
	if err != nil {
		return control.Salvaged{}, salvageFailed(out, err)
	}
	return salvagedOf(s, found), nil
}

func salvageFailed(out string, err error) error {
	_, explained := errors.AsType[*queue.OpenError](err)
	switch {
	case explained:
		return err
	case errors.Is(err, queue.ErrExists):
		return control.Refused("exists", tideover.Textf("%s exists already", "%s 已存在", out),
			tideover.Textf("name another file: a salvage never replaces one", "请换一个文件名：抢救不会覆盖已有文件"))
	}
	return &control.Error{
		Status: http.StatusInternalServerError, Code: "salvage_failed",
		What: tideover.Textf("what was found could not be written to %s: %v", "无法将抢救出的内容写入 %s：%v", out, err),
		Hint: tideover.Textf("the folder must exist, have room for the journal, and better lie on another disk than the damaged one",
			"目录必须存在并有足够空间，且最好不在损坏的磁盘上"),
	}
}

var vouched = [...]string{
	queue.VouchNothing: "nothing", queue.VouchRequest: "request", queue.VouchNeighbour: "neighbour",
	queue.VouchChain: "chain",
}

func salvagedOf(s queue.Salvager, found queue.Salvaged) control.Salvaged {
	f := found.Found
	out := control.Salvaged{
		Path: s.Path, Bytes: found.Bytes, Unreadable: found.Unreadable, Sound: found.Sound, Headless: found.Headless,
		Entries: control.SalvagedEntries{Chain: f.Chain, Neighbour: f.Neighbour, Alone: f.Alone, Unproven: f.Unproven, Off: f.Off},
		FirstAt: found.First, LastAt: found.Last, Gaps: []control.SalvagedGap{}, Transactions: found.Count, Standing: []control.Salvage{},
		SealedOpened: found.Sealed, KeyWasAtHand: s.Key != nil,
	}
	if found.Through.Seq != 0 {
		out.Through = found.Through.String()
	}
	for _, g := range found.Gaps {
		out.Gaps = append(out.Gaps, control.SalvagedGap(g))
	}
	for _, w := range found.Stand {
		one := control.Salvage{
			Transaction: w.Transaction, Standing: string(w.Standing), Vouched: vouched[w.Vouch], Kept: w.Kept, Later: append([]string{}, w.Later...),
		}
		one.What, one.Next = standingWords(w)
		out.Standing = append(out.Standing, one)
	}
	if m := found.Made; m != nil {
		made := control.SalvagedFile(*m)
		out.Made = &made
	}
	return out
}

// standingWords says how a transaction stands in a damaged journal, and what to do about it.
func standingWords(w queue.Wreck) (what, next tideover.Text) {
	ask := tideover.Textf("ask the hub: tideover-hub transaction show %s", "请向 hub 查询：tideover-hub transaction show %s", w.ID)
	switch w.Standing {
	case queue.StandsPaid:
		return tideover.Textf("paid, not handed over", "已付款未交付"),
			tideover.Textf("hand the goods over, or send a refund; then: tideover queue drop %s --reason TEXT", "请交付商品或退款；然后：tideover queue drop %s --reason 原因", w.ID)
	case queue.StandsLost:
		return tideover.Textf("its payload is gone: it is not put back, and cannot be sent from here", "内容已丢失：不会放回日志，也无法从本机发送"),
			tideover.Textf("ask the hub: tideover-hub transaction show %s; what it does not know was not executed: press it again at the till, under the same key",
				"请向 hub 查询：tideover-hub transaction show %s；hub 不知道的没有执行：请在终端用同一幂等键重新提交", w.ID)
	case queue.StandsUnknown:
		return tideover.Textf("what it was for is gone: only later steps of it were found", "受理记录已丢失：只找到其后续步骤"), ask
	case queue.StandsOpen:
	}
	if len(w.Later) > 0 {
		return tideover.Textf("no end of it can be put together; more of it was found", "无法拼出其结果；另有部分后续记录"), ask
	}
	return tideover.Textf("open: it may have been sent", "未决：可能已发送"),
		tideover.Textf("once it is put back the hub is asked; what the hub does not know is shown as manual", "放回日志后将向 hub 查询；hub 不知道的将显示为待人工处理")
}
