// Package rounds is what the programs that measure share, so that they measure alike: tills that press for a while ([Press]), the floor
// that durability has on this disk ([Floor]), and medians with their ranges ([Spread]).
//
// Nothing here is part of the product.
package rounds
