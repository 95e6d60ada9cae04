// Package rollout decides who moves next: (state, event, now) → (state, actions). It is pure.
package rollout
