package reconcile

import (
	"strings"

	"tideover"
)

// side names one of the four in both languages.
type side struct {
	name tideover.Text
	has  []*Entry
	// heard: its silence means something.
	heard bool
}

// sides are the four, in the order in which a transaction passes them.
func (g *group) sides(b *Books) []side {
	one := func(en, zh string, e *Entry, heard bool) side {
		s := side{name: tideover.Text{En: en, Zh: zh}, heard: heard}
		if e != nil {
			s.has = []*Entry{e}
		}
		return s
	}
	return []side{
		one("till", "终端", g.till, b.Till.Given), one("journal", "日志", g.journal, true), one("hub", "hub", g.hub, b.Hub.Given && !g.outside()),
		{tideover.Text{En: "platform", Zh: "平台"}, g.platform, b.Platform.Given && !g.outside()},
	}
}

// stateNames are the states in Chinese; English shows those of the API.
var stateNames = map[tideover.State]string{
	tideover.StateQueued: "已存待发", tideover.StateHeld: "已暂停", tideover.StateSent: "已发送", tideover.StatePending: "处理中",
	tideover.StateInDoubt: "结果待查", tideover.StateReversing: "撤销中", tideover.StateApproved: "已成功", tideover.StateDeclined: "已拒绝",
	tideover.StateExpired: "已过期", tideover.StateCancelled: "已取消", tideover.StateReversed: "已撤销", tideover.StateManual: "待人工处理",
}

var kindNames = map[tideover.Kind]string{
	tideover.KindSale: "收款", tideover.KindRefund: "退款", tideover.KindReversal: "撤销", tideover.KindAdvice: "通知",
}

// words says what each side has, and what a person does next.
func (g *group) words(b *Books, reason string) (what, next tideover.Text) {
	terms := reason == ReasonDiffers
	var en, zh []string
	for _, s := range g.sides(b) {
		if len(s.has) == 0 && (!s.heard || s.name.En == "platform" && g.kind() == tideover.KindReversal) {
			continue
		}
		has := tideover.Text{En: "nothing", Zh: "没有记录"}
		if len(s.has) > 0 {
			has = tideover.Text{}
		}
		for i, e := range s.has {
			if i > 0 {
				has.En, has.Zh = has.En+" and ", has.Zh+"、"
			}
			if terms {
				has.En += strings.TrimSpace(e.Kind.String() + " " + tideover.Money(e.Amount, e.Currency))
				has.Zh += strings.TrimSpace(kindNames[e.Kind] + " " + tideover.Money(e.Amount, e.Currency))
				continue
			}
			has.En += strings.TrimSpace(e.State.String() + " " + e.Reference)
			has.Zh += strings.TrimSpace(stateNames[e.State] + " " + e.Reference)
		}
		en, zh = append(en, s.name.En+": "+has.En), append(zh, s.name.Zh+"："+has.Zh)
	}
	return tideover.Text{En: strings.Join(en, "; "), Zh: strings.Join(zh, "；")}, g.next(reason)
}

// next is what a person does about it.
func (g *group) next(reason string) tideover.Text {
	switch reason {
	case ReasonTwice:
		return tideover.Textf("executed more than once: have the platform give back every execution but one, by their references",
			"重复执行：请凭平台单号要求平台退回多余的执行，只保留一笔")
	case ReasonDiffers:
		return tideover.Textf("compare the customer's slip with the platform's record; correct whichever is wrong, and give back or collect the difference",
			"请核对顾客凭条与平台记录，更正有误的一方，并退还或补收差额")
	case ReasonPeriod:
		return tideover.Textf("the till counts it in a period in which it was not accepted: count it in its own",
			"终端把它计入了其他时段：请计入其受理时段")
	case ReasonEnd:
		return g.nextEnd()
	case ReasonJournalLacks:
		if g.hub == nil && len(g.platform) == 0 {
			return tideover.Textf("this router never took it, or lost it: look at the till's slip, and ask the platform before anything is handed over or paid again",
				"本路由器没有受理或已丢失该交易：请核对终端凭条，并先向平台查询，再交付或重新收款")
		}
		return tideover.Textf("this router's journal lacks it (was the router replaced or restored?); the hub's and the platform's word counts: tell who runs the hub (tideover-hub transaction show %s)",
			"本路由器日志没有该交易（是否更换或恢复过路由器？），以 hub 和平台为准：请告知 hub 的管理者（tideover-hub transaction show %s）", g.named().ID)
	case ReasonHubLacks:
		return tideover.Textf("the ledger lacks it (was it restored from an older copy?): tell who runs the hub (tideover-hub ledger check)",
			"hub 账本没有该交易（是否从较旧的备份恢复？）：请告知 hub 的管理者（tideover-hub ledger check）")
	case ReasonPlatformLacks:
		return tideover.Textf("ask the platform by id and reference: until it finds it, this money is not certain",
			"请凭交易号和平台单号向平台查询：查明之前，这笔款项不能确定")
	case ReasonTillLacks:
		return tideover.Textf("it was paid and the till does not count it: have the till ask for it again and add it; if nothing was handed over, undo it with a reversal",
			"已付款，但终端没有计入：请让终端重新查询并补记；若未交付，请用撤销（reversal）退回")
	case ReasonManual:
		return tideover.Textf("a person has to find out how it ended: tideover queue settle %s --as approved|declined|reversed --reason TEXT",
			"需人工查明结果：tideover queue settle %s --as approved|declined|reversed --reason 原因", g.named().ID)
	default:
		return tideover.Textf("wait: it is pursued until it has an end; then compare again", "请等待：系统会一直追查到有结果；之后请重新对账")
	}
}

// nextEnd is what to do where money has moved for one side and not for another.
func (g *group) nextEnd() tideover.Text {
	here := g.journal
	if here == nil {
		here = g.hub
	}
	yes := here != nil && movedOf(here.State) == movedYes
	switch {
	case g.till != nil && here != nil && (g.tillMoved() == movedYes) != yes && yes:
		return tideover.Textf("it was paid, and the till does not know: have the till ask for it again; hand over, or undo it with a reversal",
			"已付款，而终端不知道：请让终端重新查询；然后交付，或用撤销（reversal）退回")
	case g.till != nil && here != nil && (g.tillMoved() == movedYes) != yes:
		return tideover.Textf("no money has moved, and the till counts it: correct the till, and collect or pay it anew where that is due",
			"款项并未发生，而终端已计入：请更正终端，并在需要时重新收款或退款")
	case len(g.platform) > 0 && here != nil && (g.executions() > 0) != yes:
		return tideover.Textf("the platform's books say otherwise: ask it by id and reference, and tell who runs the hub", "平台账目与此不符：请凭交易号和平台单号向平台查询，并告知 hub 的管理者")
	default:
		return tideover.Textf("a correction may be on its way: compare again in a minute; if it stays, tell who runs the hub (tideover-hub transaction show %s)",
			"更正可能正在途中：请一分钟后重新对账；若仍如此，请告知 hub 的管理者（tideover-hub transaction show %s）", g.named().ID)
	}
}
