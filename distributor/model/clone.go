package model

// Clone is a copy that shares nothing with r.
func (r Rollout) Clone() Rollout { return r }

// Clone is a copy that shares nothing with r.
func (r Release) Clone() Release { return r }

// Clone is a copy that shares nothing with n.
func (n Node) Clone() Node { return n }

// Clone is a copy that shares nothing with c.
func (c Chain) Clone() Chain { return c }
