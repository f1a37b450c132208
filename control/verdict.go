package control

import (
	"fmt"
	"slices"
	"time"

	"tideover"
)

const (
	// nearlyFull is the free space below which a technician is told.
	nearlyFull = 32 << 20
	// certificateSoon is how long before its end a certificate is mentioned.
	certificateSoon = 30 * 24 * time.Hour
	// clockOffMax is how far the wall clock may be from the ledger's before a technician is told. Sales go on by the ledger's.
	clockOffMax = 2 * time.Minute
	// doubtMax is how long the machines may need to settle what is in doubt while the hub is connected.
	doubtMax = 5 * time.Minute
	// doubtSettles is how long they are given for it after the hub was connected anew.
	doubtSettles = 30 * time.Second
)

// findings are gathered one after the other, the gravest first.
type findings []Finding

func (f *findings) add(wrong bool, code string, what, next tideover.Text) {
	if wrong {
		*f = append(*f, Finding{Code: code, What: what, Next: next})
	}
}

// Judge sums a status up: nothing to do, or what is wrong, the gravest first. offlineAgeMax is the configured age past which an open
// transaction is an alarm; 0 is none.
func Judge(s Status, offlineAgeMax time.Duration) Verdict {
	found := findings(slices.Clone(s.Alarms))
	found.add(!s.Endpoint.Accepting, "not_accepting",
		tideover.Textf("new sales are not taken at the moment", "目前不接受新的交易"),
		tideover.Textf("GET /v1/health at the endpoint says why: a limit that is spent, a full disk, another router, or a stop", "终端接口的 GET /v1/health 会说明原因：已达上限、存储已满、已由另一台路由器接管，或正在停止"))
	found.add(s.Storage.FreeBytes < nearlyFull, "storage_low",
		tideover.Textf("only %d MB are free where %s is", "%[2]s 所在的磁盘只剩 %[1]d MB", s.Storage.FreeBytes>>20, s.Storage.Path),
		tideover.Textf("make room there: a full disk refuses sales", "请清理该磁盘：写满后将无法收款"))
	found.queue(s)
	found.hub(s)
	found.age(s, offlineAgeMax)
	found.clocks(s)
	for _, u := range s.Uplinks {
		found.add(s.Hub.Connected && !u.Connected, "uplink_down",
			tideover.Textf("uplink %s does not reach the hub", "上行链路 %s 连不到 hub", u.Name),
			tideover.Textf("check its cable, SIM or signal; the others carry on", "请检查网线、SIM 卡或信号；其他链路继续工作"))
	}
	if found == nil {
		found = findings{} // a list in JSON, never null
	}
	return Verdict{Well: !slices.ContainsFunc(found, func(f Finding) bool { return !f.Note }), Findings: found}
}

// queue finds what needs a person: transactions that no machine settles, and approvals that nobody has seen.
func (f *findings) queue(s Status) {
	manual := tideover.StateManual.String()
	f.add(s.Queue.ByState[manual] > 0, "manual",
		tideover.Textf("%d transaction(s) could not be resolved by machine", "有 %d 笔交易无法由机器确定结果", s.Queue.ByState[manual]),
		tideover.Textf("look at them: tideover queue list --state manual; ask the platform how each ended, then say it: "+
			"tideover queue settle %s --as approved|declined|reversed --reason TEXT",
			"请查看：tideover queue list --state manual；向平台核实每笔的结果，然后结清：tideover queue settle %s --as approved|declined|reversed --reason 原因",
			nameOf(s.Queue.Oldest[manual].ID)))
	f.add(s.Queue.NotHandedOver > 0, "not_handed_over",
		tideover.Textf("%d transaction(s) paid, not handed over: approved, and for more than %s no till has acknowledged it",
			"有 %d 笔已付款未交付：交易已成功，但超过 %s 没有终端确认", s.Queue.NotHandedOver, minutes(HandOverMax)),
		tideover.Textf("see: tideover queue list --not-handed-over; hand the goods over or send a refund, then: tideover queue drop ID --reason TEXT",
			"请查看：tideover queue list --not-handed-over；交付商品或发起退款后执行：tideover queue drop 编号 --reason 原因"))
	since := age(s, s.Hub.Since)
	for _, state := range []tideover.State{tideover.StateInDoubt, tideover.StateReversing} {
		oldest, ok := s.Queue.Oldest[state.String()]
		f.add(ok && s.Hub.Connected && since > doubtSettles && age(s, oldest.At) > doubtMax, state.String(),
			tideover.Textf("the hub is connected, and transaction %s is still %s, %s after it was accepted", "hub 已连接，但交易 %s 仍为 %s 状态，受理已过 %s",
				oldest.ID, state, minutes(age(s, oldest.At))),
			tideover.Textf("ask again now: tideover queue retry %[1]s; if it stays, tell who runs the hub that its platform does not answer",
				"请立即重新查询：tideover queue retry %[1]s；若仍无结果，请告知 hub 的管理者：平台没有应答", oldest.ID))
	}
}

// hub finds why no hub takes transactions.
func (f *findings) hub(s Status) {
	if slices.ContainsFunc(s.Alarms, func(a Finding) bool { return a.Code == "superseded" }) {
		return // nothing is stored meanwhile, and a fresh token would put out the router that has taken over
	}
	f.add(s.Hub.Refused, "hub_refused", refusedText(s),
		tideover.Textf("check hub.addresses; if they are right, enroll with a fresh token (tideover-hub store rotate %s); sales are stored meanwhile",
			"请检查 hub.addresses；如果无误，请用新的令牌重新注册（tideover-hub store rotate %s）；期间的交易会先存下来", s.Store))
	f.add(!s.Hub.Connected && !s.Hub.Refused, "hub_unreachable", unreachableText(s),
		tideover.Textf("check the shop's line and hub.addresses; sales are stored meanwhile", "请检查店内网络和 hub.addresses；期间的交易会先存下来"))
}

// age finds the oldest transaction without an end, if it is older than it should be.
func (f *findings) age(s Status, offlineAgeMax time.Duration) {
	var oldest Oldest
	var state tideover.State
	for _, open := range tideover.States() {
		if o, ok := s.Queue.Oldest[open.String()]; ok && (oldest.ID.IsZero() || o.At < oldest.At) {
			oldest, state = o, open
		}
	}
	f.add(offlineAgeMax > 0 && s.Queue.OldestAt != 0 && age(s, s.Queue.OldestAt) > offlineAgeMax, "offline_age",
		tideover.Textf("the oldest open transaction, %s (%s), is %s old", "最早的未决交易 %s（%s）已有 %s", nameOf(oldest.ID), state, minutes(age(s, s.Queue.OldestAt))),
		nextStep(nameOf(oldest.ID), state))
}

// nextStep is what a person may do about an open transaction. Nothing of it is ever dropped by age.
func nextStep(id string, state tideover.State) tideover.Text {
	switch state {
	case tideover.StateHeld:
		return tideover.Textf("it is held back: tideover queue release %s, or tideover queue cancel %[1]s", "该交易已暂停：tideover queue release %s，或 tideover queue cancel %[1]s", id)
	case tideover.StateManual:
		return tideover.Textf("ask the platform how it ended, then: tideover queue settle %s --as approved|declined|reversed --reason TEXT",
			"请向平台核实结果后执行：tideover queue settle %s --as approved|declined|reversed --reason 原因", id)
	case tideover.StateNone, tideover.StateQueued, tideover.StateSent, tideover.StatePending, tideover.StateInDoubt, tideover.StateReversing,
		tideover.StateApproved, tideover.StateDeclined, tideover.StateExpired, tideover.StateCancelled, tideover.StateReversed:
	}
	return tideover.Textf("nothing is dropped, and it is pursued on; see: tideover queue show %s; tideover queue retry %[1]s asks again now",
		"不会丢弃，系统会继续查询；请查看：tideover queue show %s；立即重新查询：tideover queue retry %[1]s", id)
}

// clocks finds a wrong clock, and a certificate that is about to end.
func (f *findings) clocks(s Status) {
	off := age(s, s.Hub.LedgerTime)
	f.add(s.Hub.LedgerTime != 0 && off.Abs() > clockOffMax, "clock_off",
		tideover.Textf("this router's clock is off by %s", "本机时钟偏差 %s", off.Round(time.Second)),
		tideover.Textf("set it (ntpd, timedatectl); sales go on by the hub's time", "请校时（ntpd、timedatectl）；交易按 hub 的时间继续"))
	f.add(s.Certificate.NotAfter != 0 && certificateLeft(s) < certificateSoon, "certificate",
		tideover.Textf("this router's certificate ends in %d days", "本机证书还有 %d 天到期", int(certificateLeft(s).Hours()/24)),
		tideover.Textf("ask for a fresh token (tideover-hub store rotate %s) and enroll with it", "请索取新的注册令牌（tideover-hub store rotate %s）并重新注册", s.Store))
}

// age is the time since then, by the edge's wall clock.
func age(s Status, then tideover.Millis) time.Duration {
	return time.Duration(s.Now-then) * time.Millisecond
}

// minutes shows a long time without what nobody reads: 73h20m, 5m.
func minutes(d time.Duration) string {
	m := int64(d.Round(time.Minute) / time.Minute)
	if m < 60 {
		return fmt.Sprintf("%dm", m)
	}
	return fmt.Sprintf("%dh%02dm", m/60, m%60)
}

// nameOf is an id as a command takes it; where none is known, the word for it.
func nameOf(id tideover.ID) string {
	if id.IsZero() {
		return "ID"
	}
	return id.String()
}

// certificateLeft is told by the ledger's time where that is known: the wall clock may be wrong.
func certificateLeft(s Status) time.Duration {
	now := s.Hub.LedgerTime
	if now == 0 {
		now = s.Now
	}
	return time.Duration(s.Certificate.NotAfter-now) * time.Millisecond
}

// refusedText says which hub answers that is of no use, and why.
func refusedText(s Status) tideover.Text {
	return tideover.Textf("the hub at %s answers, and this router cannot use it: %s", "位于 %s 的 hub 有应答，但本机无法使用：%s", s.Hub.Address, s.Hub.Error)
}

// unreachableText says for how long no hub was heard, and why.
func unreachableText(s Status) tideover.Text {
	t := tideover.Textf("the hub is not reached", "连不到 hub")
	if s.Hub.Since != 0 {
		t = tideover.Textf("the hub has not been reached for %s", "已有 %s 连不到 hub", age(s, s.Hub.Since).Round(time.Second))
	}
	if s.Hub.Error != "" {
		t.En += ": " + s.Hub.Error
		t.Zh += "：" + s.Hub.Error
	}
	return t
}
