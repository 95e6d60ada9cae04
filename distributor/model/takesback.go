package model

// TakesBack says whether the rollout gives nodes what they had before another one. One that puts a filter back moves on, though it undoes a disabling.
func (r *Rollout) TakesBack() bool { return r.Undoes != "" && r.Layer.Disables() == "" }
