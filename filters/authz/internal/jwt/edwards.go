package jwt

import "math/big"

// edwardsProblem says what is wrong with an encoded Ed25519 public key of 32 bytes, or "" when it may be used.
//
// crypto/ed25519 finds out that a key is no point only when it verifies, and then reports a bad signature; it accepts
// points of small order, with which a signature verifies under messages that nobody signed. Both are mistakes in a
// configuration, so they are found when it is read. The arithmetic is not constant time: a public key is no secret.
func edwardsProblem(encoded []byte) string {
	// RFC 8032, section 5.1.3: y in little-endian, the sign of x in the highest bit.
	reversed := make([]byte, len(encoded))
	for i, b := range encoded {
		reversed[len(encoded)-1-i] = b
	}
	sign := uint(reversed[0] >> 7)
	reversed[0] &= 0x7f
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	y := new(big.Int).SetBytes(reversed)
	if y.Cmp(p) >= 0 {
		return "not a canonical encoding of a point on Ed25519"
	}
	// d = -121665/121666; x^2 = (y^2 - 1) / (d y^2 + 1).
	one := big.NewInt(1)
	mod := func(v *big.Int) *big.Int { return v.Mod(v, p) }
	mul := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
	inverse := func(v *big.Int) *big.Int { return new(big.Int).ModInverse(v, p) }
	d := mul(big.NewInt(-121665), inverse(big.NewInt(121666)))
	yy := mul(y, y)
	xx := mul(mod(new(big.Int).Sub(yy, one)), inverse(mod(new(big.Int).Add(mul(d, yy), one))))
	x := new(big.Int).ModSqrt(xx, p)
	if x == nil {
		return "not a point on Ed25519"
	}
	if x.Sign() == 0 && sign == 1 {
		return "not a canonical encoding of a point on Ed25519"
	}
	// Doubling three times takes a point of order 1, 2, 4 or 8 to (0, 1). The sign of x does not change the order.
	for range 3 {
		xy := mul(x, y)
		dxxyy := mul(d, mul(xy, xy))
		next := mul(new(big.Int).Lsh(xy, 1), inverse(mod(new(big.Int).Add(one, dxxyy))))
		y = mul(new(big.Int).Add(mul(y, y), mul(x, x)), inverse(mod(new(big.Int).Sub(one, dxxyy))))
		x = next
	}
	if x.Sign() == 0 && y.Cmp(one) == 0 {
		return "a point of small order: anybody could sign for it"
	}
	return ""
}
