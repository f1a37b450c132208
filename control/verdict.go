package control

import (
	"slices"
	"time"

	"tideover"
)

// Judge sums a status up: nothing to do, or what is wrong, the gravest first. offlineAgeMax is the configured age past which an open
// transaction is an alarm; 0 is none.
func Judge(s Status, offlineAgeMax time.Duration) Verdict {
	findings := slices.Clone(s.Alarms)
	find := func(wrong bool, code string, what, next tideover.Text) {
		if wrong {
			findings = append(findings, Finding{code, what, next})
		}
	}
	find(!s.Endpoint.Accepting, "not_accepting",
		tideover.Textf("new sales are not taken at the moment", "目前不接受新的交易"),
		tideover.Textf("the reason is in the log; a stopping or full daemon says so there", "原因见日志；停止中或存储已满都会写明"))
	find(s.Storage.FreeBytes < nearlyFull, "storage_low",
		tideover.Textf("only %d MB are free where %s is", "%[2]s 所在的磁盘只剩 %[1]d MB", s.Storage.FreeBytes>>20, s.Storage.Path),
		tideover.Textf("make room there: a full disk refuses sales", "请清理该磁盘：写满后将无法收款"))
	manual := s.Queue.ByState[tideover.StateManual.String()]
	find(manual > 0, "manual",
		tideover.Textf("%d transaction(s) could not be resolved by machine", "有 %d 笔交易无法由机器确定结果", manual),
		tideover.Textf("look at them: tideover queue list --state manual", "请查看：tideover queue list --state manual"))
	find(s.Hub.Refused, "hub_refused", refusedText(s),
		tideover.Textf("check hub.addresses; if they are right, enroll with a fresh token (tideover-hub store rotate %s); sales are stored meanwhile",
			"请检查 hub.addresses；如果无误，请用新的令牌重新注册（tideover-hub store rotate %s）；期间的交易会先存下来", s.Store))
	find(!s.Hub.Connected && !s.Hub.Refused, "hub_unreachable", unreachableText(s),
		tideover.Textf("check the shop's line and hub.addresses; sales are stored meanwhile", "请检查店内网络和 hub.addresses；期间的交易会先存下来"))
	age := time.Duration(s.Now-s.Queue.OldestAt) * time.Millisecond
	find(offlineAgeMax > 0 && s.Queue.OldestAt != 0 && age > offlineAgeMax, "offline_age",
		tideover.Textf("the oldest open transaction is %s old", "最早的未决交易已有 %s", age.Round(time.Minute)),
		tideover.Textf("nothing is dropped; see: tideover queue list", "不会丢弃任何交易；请查看：tideover queue list"))
	off := time.Duration(s.Now-s.Hub.LedgerTime) * time.Millisecond
	find(s.Hub.LedgerTime != 0 && off.Abs() > clockOffMax, "clock_off",
		tideover.Textf("this router's clock is off by %s", "本机时钟偏差 %s", off.Round(time.Second)),
		tideover.Textf("set it (ntpd, timedatectl); sales go on by the hub's time", "请校时（ntpd、timedatectl）；交易按 hub 的时间继续"))
	find(s.Certificate.NotAfter != 0 && certificateLeft(s) < certificateSoon, "certificate",
		tideover.Textf("this router's certificate ends in %d days", "本机证书还有 %d 天到期", int(certificateLeft(s).Hours()/24)),
		tideover.Textf("ask for a fresh token (tideover-hub store rotate %s) and enroll with it", "请索取新的注册令牌（tideover-hub store rotate %s）并重新注册", s.Store))
	for _, u := range s.Uplinks {
		find(s.Hub.Connected && !u.Connected, "uplink_down",
			tideover.Textf("uplink %s does not reach the hub", "上行链路 %s 连不到 hub", u.Name),
			tideover.Textf("check its cable, SIM or signal; the others carry on", "请检查网线、SIM 卡或信号；其他链路继续工作"))
	}
	if findings == nil {
		findings = []Finding{} // a list in JSON, never null
	}
	return Verdict{Well: len(findings) == 0, Findings: findings}
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
		ago := (time.Duration(s.Now-s.Hub.Since) * time.Millisecond).Round(time.Second)
		t = tideover.Textf("the hub has not been reached for %s", "已有 %s 连不到 hub", ago)
	}
	if s.Hub.Error != "" {
		t.En += ": " + s.Hub.Error
		t.Zh += "：" + s.Hub.Error
	}
	return t
}
