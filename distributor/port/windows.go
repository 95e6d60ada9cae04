package port

// credit is how many bytes the other side may send: of a stream, or of a connection. It is fixed: what is taken is given back, in pieces that are worth a frame.
type credit struct {
	// left is what the other side may still send, and due what was taken since it was last told.
	left, due int
}

// came takes what has come; false: it is more than there was.
func (c *credit) came(n int) bool {
	c.left -= n
	return c.left >= 0
}

// gave says that so much was taken, and gives what the other side is to be told; 0: nothing yet.
func (c *credit) gave(n, window int) uint32 {
	c.due += n
	if c.due < window/4 {
		return 0
	}
	told := c.due
	c.left += told
	c.due = 0
	return uint32(told)
}

// grow adds to a window that the other side gives; false: it is more than HTTP/2 has.
func grow(window *int, by int) bool {
	*window += by
	return *window <= maxWindow
}
