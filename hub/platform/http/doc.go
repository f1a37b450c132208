// Package http is the platform that is reached over HTTP, as the contract's section on the platform describes it.
//
// Each method makes one request at most, whatever happens to its connection: Go's transport repeats a POST with an Idempotency-Key by
// itself when a kept connection turns out to be dead, unless the request's GetBody is nil, as it is here.
package http
