// Package platform is the door to the payment platform, which moves the money.
//
// A [Platform] is called, asked and told to reverse, always with the transaction's id. Silence, an error and an answer that cannot be
// read are all the same: it is not known what happened. No adapter repeats a call by itself; whoever calls decides that, by the
// ledger. All methods may be called from many goroutines at once.
package platform
