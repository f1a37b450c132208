package terminal

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"tideover"
)

// problem is the shape of a refusal on the wire, RFC 9457.
type problem struct {
	Type        string         `json:"type"`
	Title       string         `json:"title"`
	Status      int            `json:"status"`
	Detail      string         `json:"detail"`
	Code        tideover.Code  `json:"code"`
	Instance    string         `json:"instance"`
	Errors      []fieldProblem `json:"errors,omitempty"`
	Limit       *int64         `json:"limit,omitempty"`
	Remaining   *int64         `json:"remaining,omitempty"`
	DuplicateOf *tideover.ID   `json:"duplicate_of,omitempty"`
}

type fieldProblem struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// kind is what all refusals of one code have in common.
type kind struct {
	status int
	title  tideover.Text
	passes bool // by itself: the same request may be taken later
}

// kinds is the contract's table of statuses and codes.
var kinds = map[tideover.Code]kind{
	tideover.CodeInvalidRequest:        {http.StatusBadRequest, tideover.Text{En: "The request is malformed", Zh: "请求格式有误"}, false},
	tideover.CodeMissingKey:            {http.StatusBadRequest, tideover.Text{En: "The idempotency key is missing", Zh: "缺少幂等键"}, false},
	tideover.CodeUnauthorized:          {http.StatusUnauthorized, tideover.Text{En: "The till is not known", Zh: "终端未获授权"}, false},
	tideover.CodeForbidden:             {http.StatusForbidden, tideover.Text{En: "Not allowed", Zh: "不允许此操作"}, false},
	tideover.CodeUnknownTransaction:    {http.StatusNotFound, tideover.Text{En: "No such transaction", Zh: "没有这笔交易"}, false},
	tideover.CodeNotFound:              {http.StatusNotFound, tideover.Text{En: "No such address", Zh: "没有这个地址"}, false},
	tideover.CodeMethodNotAllowed:      {http.StatusMethodNotAllowed, tideover.Text{En: "Method not allowed", Zh: "不支持此方法"}, false},
	tideover.CodeNotAcceptable:         {http.StatusNotAcceptable, tideover.Text{En: "Not acceptable", Zh: "无法提供所要求的格式"}, false},
	tideover.CodeTooLarge:              {http.StatusRequestEntityTooLarge, tideover.Text{En: "The request is too large", Zh: "请求过大"}, false},
	tideover.CodeUnsupportedMediaType:  {http.StatusUnsupportedMediaType, tideover.Text{En: "Unsupported media type", Zh: "不支持的内容类型"}, false},
	tideover.CodeSuspectedDuplicate:    {http.StatusConflict, tideover.Text{En: "This looks like a second press", Zh: "疑似重复交易"}, false},
	tideover.CodeAlreadyAcknowledged:   {http.StatusConflict, tideover.Text{En: "Already acknowledged", Zh: "交易已确认收妥"}, false},
	tideover.CodeOutcomeChanged:        {http.StatusConflict, tideover.Text{En: "The outcome has changed", Zh: "结果已变更"}, false},
	tideover.CodeCannotCancel:          {http.StatusConflict, tideover.Text{En: "Cannot be cancelled", Zh: "不能取消"}, false},
	tideover.CodeNotPossible:           {http.StatusConflict, tideover.Text{En: "Not possible in this state", Zh: "当前状态下无法执行"}, false},
	tideover.CodeNameInUse:             {http.StatusConflict, tideover.Text{En: "The name is in use", Zh: "名称已被占用"}, false},
	tideover.CodeKeyReused:             {http.StatusUnprocessableEntity, tideover.Text{En: "The key belongs to another request", Zh: "幂等键已用于另一请求"}, false},
	tideover.CodeAmountAboveLimit:      {http.StatusUnprocessableEntity, tideover.Text{En: "The amount is above the limit", Zh: "金额超过上限"}, false},
	tideover.CodeAmountBelowMinimum:    {http.StatusUnprocessableEntity, tideover.Text{En: "The amount is below the minimum", Zh: "金额低于下限"}, false},
	tideover.CodeOriginalUnknown:       {http.StatusUnprocessableEntity, tideover.Text{En: "The original is unknown", Zh: "找不到原交易"}, false},
	tideover.CodeOriginalNotApproved:   {http.StatusUnprocessableEntity, tideover.Text{En: "The original cannot be undone so", Zh: "原交易不能这样退款或冲正"}, false},
	tideover.CodeRefundExceedsOriginal: {http.StatusUnprocessableEntity, tideover.Text{En: "The refund exceeds the original", Zh: "退款超过原交易金额"}, false},
	tideover.CodeRefundWindowClosed:    {http.StatusUnprocessableEntity, tideover.Text{En: "Too late for a refund", Zh: "已超过退款期限"}, false},
	tideover.CodeForbiddenCardData:     {http.StatusUnprocessableEntity, tideover.Text{En: "Card data that must not be stored", Zh: "含有禁止存储的卡数据"}, false},
	tideover.CodeTooManyRequests:       {http.StatusTooManyRequests, tideover.Text{En: "Too many requests", Zh: "请求过多"}, true},
	tideover.CodeOfflineLimit:          {http.StatusServiceUnavailable, tideover.Text{En: "The offline limit is reached", Zh: "已达离线上限"}, true},
	tideover.CodeShuttingDown:          {http.StatusServiceUnavailable, tideover.Text{En: "Shutting down", Zh: "服务正在停止"}, true},
	tideover.CodeSuperseded:            {http.StatusServiceUnavailable, tideover.Text{En: "Another router serves this shop", Zh: "本店已由另一台路由器接管"}, true},
	tideover.CodeStorageFull:           {http.StatusInsufficientStorage, tideover.Text{En: "The storage is full", Zh: "存储空间已满"}, false},
	tideover.CodeInternal:              {http.StatusInternalServerError, tideover.Text{En: "Internal error", Zh: "内部错误"}, false},
}

// fail answers a request that was not taken, or not taken as far as is known. Where nothing may be
// answered, or nobody is there to hear it, it ends the connection.
func (x *exchange) fail(err error) {
	if refusal, ok := errors.AsType[*tideover.Refusal](err); ok {
		x.refuse(refusal)
		return
	}
	if errors.Is(err, ErrAbort) || x.r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	x.s.log.Error("a request failed", "path", x.r.URL.Path, "terminal", x.by.Name, "err", err)
	x.refuse(tideover.Refuse(tideover.CodeInternal,
		"the edge failed at this request; send it again under the same key, and look into the edge's log",
		"边缘服务处理此请求时出错；请用同一幂等键重发，并查看其日志"))
}

// refuse writes a problem. Whatever of the request is in it is masked: an answer is printed and logged at the till.
func (x *exchange) refuse(r *tideover.Refusal) {
	k, known := kinds[r.Code]
	if !known {
		panic("terminal: a refusal without a status: " + string(r.Code))
	}
	p := problem{
		Type: "urn:tideover:problem:" + string(r.Code), Title: k.title.In(x.lang), Status: k.status, Detail: tideover.Mask(r.Detail.In(x.lang)),
		Code: r.Code, Instance: tideover.Mask(x.r.URL.Path), Limit: r.Limit, Remaining: r.Remaining,
	}
	for _, f := range r.Fields {
		p.Errors = append(p.Errors, fieldProblem{tideover.Mask(f.Field), tideover.Mask(f.Detail.In(x.lang))})
	}
	if !r.DuplicateOf.IsZero() {
		p.DuplicateOf = &r.DuplicateOf
	}
	h := x.w.Header()
	if r.RetryAfter > 0 {
		h.Set("Retry-After", seconds(r.RetryAfter))
	} else if k.passes {
		h.Set("Retry-After", seconds(RetryAfterDefault))
	}
	if k.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tideover"`)
	}
	x.write(k.status, "application/problem+json", p)
}

// seconds prints a duration as whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// write sends an answer whole, and says whether the till's kernel may have it: an error means that it certainly has not all of it.
func (x *exchange) write(status int, contentType string, v any) error {
	var body []byte
	if t, ok := v.(tideover.Transaction); ok {
		body = t.AppendJSON(nil)
	} else {
		var err error
		if body, err = json.Marshal(v); err != nil {
			panic(err) // every answer's type is ours
		}
	}
	body = append(body, '\n')
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return x.send(status, body)
}

// send writes status and body within [writeMax], and flushes them.
func (x *exchange) send(status int, body []byte) error {
	rc := http.NewResponseController(x.w)
	_ = rc.SetWriteDeadline(time.Now().Add(writeMax)) // fails where the connection is gone, and so will writing
	x.w.WriteHeader(status)
	if len(body) > 0 && x.r.Method != http.MethodHead {
		if _, err := x.w.Write(body); err != nil {
			return err
		}
	}
	err := rc.Flush()
	_ = rc.SetWriteDeadline(time.Time{})
	return err
}
