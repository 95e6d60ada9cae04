package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// SecretDraft is a value of a kept secret as somebody gives it.
type SecretDraft struct {
	// Layer: empty means model.LayerGlobal.
	Layer model.Layer
	// Name is required, a DNS label.
	Name string
	// Value is text in UTF-8 without NUL, of 1 byte to model.MaxSecret.
	Value []byte
}

// maxSecretTries is how often a change is tried again that somebody else's change of the same secret came before.
const maxSecretTries = 5

// secretOf checks what names a kept secret.
func secretOf(layer model.Layer, name string) (model.KeptSecret, error) {
	one := model.KeptSecret{Layer: layer, Name: name}
	if layer == "" {
		one.Layer = model.LayerGlobal
	}
	if err := model.ValidateName("secret", "name", name); err != nil {
		return one, err
	}
	if err := model.ValidateLayer(one.Object(), "layer", one.Layer); err != nil {
		return one, err
	}
	if one.Layer.Disables() != "" {
		return one, model.Invalidf(one.Object(), "layer", "use global, team/NAME or service/NAME", "a layer that takes a filter out has no secrets")
	}
	return one, nil
}

// mayWriteSecret asks about a change of a kept secret, before anything is done.
func (s *Service) mayWriteSecret(ctx context.Context, actor Actor, verb Verb, layer model.Layer, name string) (model.KeptSecret, error) {
	one, err := secretOf(layer, name)
	if err != nil {
		return one, err
	}
	if err := s.may(ctx, Act{Verb: verb, Object: one.Object(), Layer: one.Layer}); err != nil {
		return one, err
	}
	if err := actor.check(one.Object()); err != nil {
		return one, err
	}
	return one, s.Ready()
}

// SetSecret adds a version to a kept secret, which there may be or not. No node runs anything else by that: a release names the version, and a rollout brings it. Where there
// would be more than model.MaxSecretVersions, the oldest goes that no release names.
//
// Errors are *model.Error, and have nothing of the value: ErrInvalid, ErrDenied where Roles says so, ErrPrecondition where there is no key, or no room.
func (s *Service) SetSecret(ctx context.Context, actor Actor, draft SecretDraft) (model.KeptSecret, error) {
	one, err := s.mayWriteSecret(ctx, actor, VerbSetSecret, draft.Layer, draft.Name)
	if err != nil {
		return one, err
	}
	if problem := model.SecretProblem(draft.Value); problem != "" {
		return one, model.Invalidf(one.Object(), "value", fmt.Sprintf("give text of 1 to %d bytes", model.MaxSecret), "the value %s", problem)
	}
	return s.changeSecret(ctx, one, func(have model.KeptSecret) (model.KeptSecretChange, model.AuditEntry, error) {
		change := model.KeptSecretChange{Secret: have}
		if have.Revision == 0 {
			if err := s.roomForSecret(ctx, have); err != nil {
				return change, model.AuditEntry{}, err
			}
		}
		kept, gone, err := s.roomForVersion(ctx, have)
		if err != nil {
			return change, model.AuditEntry{}, err
		}
		id, err := model.NewSecretID()
		if err != nil {
			return change, model.AuditEntry{}, err
		}
		version := have.Last + 1
		ref := model.SecretRef{Layer: have.Layer, Name: have.Name, Version: version, ID: id}
		sealed, key, err := s.keys.Seal(ref, draft.Value)
		if err != nil {
			return change, model.AuditEntry{}, err
		}
		stamp := s.stamp()
		change.Secret.Last = version
		change.Secret.Versions = append(kept, model.SecretVersion{Version: version, ID: id, Key: key, SetAt: stamp, SetBy: actor.Name, Reason: actor.Reason})
		change.Sealed, change.Gone = map[model.SecretRef][]byte{ref: sealed}, gone
		detail := fmt.Sprintf("version %d, sealed with the key %s", version, key)
		if len(gone) > 0 {
			detail += "; removed " + versionsText(gone) + ", which no release names"
		}
		return change, model.AuditEntry{At: stamp, Actor: actor.Name, Action: string(VerbSetSecret), Object: have.Object(), Reason: actor.Reason, Detail: detail}, nil
	})
}

// changeSecret works a change out from what there is, and writes it.
func (s *Service) changeSecret(ctx context.Context, one model.KeptSecret, work func(model.KeptSecret) (model.KeptSecretChange, model.AuditEntry, error)) (model.KeptSecret, error) {
	for try := 1; ; try++ {
		have, err := s.store.GetSecret(ctx, one.Layer, one.Name)
		if err != nil {
			return one, err
		}
		change, entry, err := work(have)
		if err != nil {
			return one, err
		}
		if len(change.Gone) > 0 {
			s.secretsRemoved.Add(1)
		}
		err = s.store.WriteSecret(ctx, change, entry)
		// Whatever is said of it, it may have been written: an answer can be lost.
		for _, ref := range change.Gone {
			s.sealed.drop(ref)
		}
		for ref := range change.Sealed {
			s.sealed.drop(ref)
		}
		if err != nil {
			if errors.Is(err, model.ErrConflict) && try < maxSecretTries {
				continue
			}
			return one, err
		}
		s.log.Info("secret changed", "secret", change.Secret.Object(), "action", entry.Action, "detail", entry.Detail, "actor", entry.Actor)
		return change.Secret, nil
	}
}

// roomForSecret refuses a new name where a layer has as many as it may.
func (s *Service) roomForSecret(ctx context.Context, one model.KeptSecret) error {
	all, err := s.store.ListSecrets(ctx, one.Layer, "", model.MaxLayerSecrets)
	if err != nil {
		return err
	}
	if len(all) < model.MaxLayerSecrets {
		return nil
	}
	return &model.Error{Kind: model.ErrPrecondition, Object: one.Object(), Message: fmt.Sprintf("layer %s has %d names of secrets, and may have no more", one.Layer, len(all)),
		Next: "take a name that there is; one that was deleted counts, since none of its versions is given twice"}
}

// roomForVersion are the versions that stay when another one comes, and those that go for it.
func (s *Service) roomForVersion(ctx context.Context, have model.KeptSecret) (kept []model.SecretVersion, gone []model.SecretRef, err error) {
	if len(have.Versions) < model.MaxSecretVersions {
		return slices.Clone(have.Versions), nil, nil
	}
	uses, err := s.secretUses(ctx, have)
	if err != nil {
		return nil, nil, err
	}
	// The newest may be in a release that is being created.
	for i, v := range have.Versions[:len(have.Versions)-1] {
		if len(uses[v.Version]) == 0 {
			return slices.Delete(slices.Clone(have.Versions), i, i+1), []model.SecretRef{have.Ref(v.Version)}, nil
		}
	}
	return nil, nil, &model.Error{Kind: model.ErrPrecondition, Object: have.Object(),
		Message: fmt.Sprintf("it has %d versions, and releases name all of them", len(have.Versions)), Next: "delete one that is not needed any more (waft secret show, waft secret delete --version)"}
}

// secretUses are the releases that name a kept secret, by version, the newest first.
func (s *Service) secretUses(ctx context.Context, one model.KeptSecret) (map[int64][]model.ReleaseID, error) {
	uses := map[int64][]model.ReleaseID{}
	for cursor := int64(0); ; {
		page, next, err := s.store.ListReleases(ctx, "", cursor, loadPage)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			if r.Layer != one.Layer {
				continue
			}
			for _, ref := range r.KeptSecrets() {
				if ref.Name == one.Name && ref.Layer == one.Layer {
					uses[ref.Version] = append(uses[ref.Version], r.ID)
				}
			}
		}
		if cursor = next; cursor == 0 {
			return uses, nil
		}
	}
}

// SecretStatus is a kept secret with the releases that name it, by version, the newest first.
type SecretStatus struct {
	model.KeptSecret
	Releases map[int64][]model.ReleaseID
}

func errNoSecret(one model.KeptSecret) error {
	return &model.Error{Kind: model.ErrNotFound, Object: one.Object(), Message: "there is no such secret", Next: "see waft secret list; --layer names another layer"}
}

// GetSecret is what is known of a kept secret, or model.ErrNotFound.
func (s *Service) GetSecret(ctx context.Context, layer model.Layer, name string) (SecretStatus, error) {
	one, err := secretOf(layer, name)
	if err != nil {
		return SecretStatus{}, err
	}
	if err := s.Ready(); err != nil {
		return SecretStatus{}, err
	}
	have, err := s.store.GetSecret(ctx, one.Layer, one.Name)
	if err != nil {
		return SecretStatus{}, err
	}
	if len(have.Versions) == 0 {
		return SecretStatus{}, errNoSecret(one)
	}
	uses, err := s.secretUses(ctx, have)
	return SecretStatus{KeptSecret: have, Releases: uses}, err
}

// ListSecrets returns kept secrets, by layer and name: of one layer or all (empty), and the token of the next page. Those whose versions were all deleted are left out.
func (s *Service) ListSecrets(ctx context.Context, layer model.Layer, page Page) ([]model.KeptSecret, string, error) {
	limit, after, err := page.span()
	if err != nil {
		return nil, "", err
	}
	if layer != "" {
		if err := model.ValidateLayer("secrets", "layer", layer); err != nil {
			return nil, "", err
		}
	}
	if err := s.Ready(); err != nil {
		return nil, "", err
	}
	read, err := s.store.ListSecrets(ctx, layer, after, limit)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(read) == limit {
		last := read[len(read)-1]
		next = afterToken(string(last.Layer) + "\n" + last.Name)
	}
	return slices.DeleteFunc(read, func(one model.KeptSecret) bool { return len(one.Versions) == 0 }), next, nil
}

// DeleteSecret removes a version of a kept secret, or all of them (0). What a node, a rollout or an undo may need is refused with model.ErrPrecondition, naming the releases. It is
// decided in the drive loop, where no rollout starts meanwhile.
func (s *Service) DeleteSecret(ctx context.Context, actor Actor, layer model.Layer, name string, version int64) (model.KeptSecret, error) {
	one, err := s.mayWriteSecret(ctx, actor, VerbDeleteSecret, layer, name)
	if err != nil {
		return one, err
	}
	for range maxCollected {
		if _, err := s.inUse(ctx); err != nil {
			return one, err // what ended rollouts have done is read outside the drive loop
		}
		known := true
		var left model.KeptSecret
		err := s.inDrive(ctx, one.Object(), func(run context.Context) error {
			var needed map[model.ReleaseID]struct{}
			var err error
			if needed, known, err = s.neededReleases(); err != nil || !known {
				return err
			}
			left, err = s.deleteSecret(run, actor, one, version, needed)
			return err
		})
		if err != nil {
			return one, err // left may be written to yet (inDrive)
		}
		if known {
			return left, nil
		}
	}
	return one, &model.Error{Kind: model.ErrUnavailable, Object: one.Object(), Message: "rollouts end faster than it is found out what they need", Next: "try again in a moment"}
}

// deleteSecret is DeleteSecret with the releases that are needed; the drive loop runs it.
func (s *Service) deleteSecret(ctx context.Context, actor Actor, one model.KeptSecret, version int64, needed map[model.ReleaseID]struct{}) (model.KeptSecret, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	by := map[int64][]string{}
	for id := range needed {
		if err := s.needReleases(ctx, id); err != nil {
			return one, err
		}
		s.mu.Lock()
		release := s.releases[id]
		s.mu.Unlock()
		for _, ref := range release.KeptSecrets() {
			if ref.Layer == one.Layer && ref.Name == one.Name {
				by[ref.Version] = append(by[ref.Version], id.String())
			}
		}
	}
	return s.changeSecret(ctx, one, func(have model.KeptSecret) (model.KeptSecretChange, model.AuditEntry, error) {
		change := model.KeptSecretChange{Secret: have}
		change.Secret.Versions = nil
		for _, v := range have.Versions {
			if version != 0 && v.Version != version {
				change.Secret.Versions = append(change.Secret.Versions, v)
				continue
			}
			if releases := by[v.Version]; len(releases) > 0 {
				slices.Sort(releases)
				return change, model.AuditEntry{}, &model.Error{Kind: model.ErrPrecondition, Object: have.Object(),
					Message: fmt.Sprintf("nodes, rollouts or undos may need its version %d, by %s", v.Version, firstFew(releases)),
					Next:    "roll out releases that name another version, or none, and have the fleet settle on them"}
			}
			change.Gone = append(change.Gone, have.Ref(v.Version))
		}
		if len(change.Gone) == 0 {
			if version != 0 && len(have.Versions) > 0 {
				return change, model.AuditEntry{}, &model.Error{Kind: model.ErrNotFound, Object: have.Object(), Message: fmt.Sprintf("it has no version %d", version), Next: "see waft secret show " + have.Name}
			}
			return change, model.AuditEntry{}, errNoSecret(have)
		}
		return change, model.AuditEntry{At: s.stamp(), Actor: actor.Name, Action: string(VerbDeleteSecret), Object: have.Object(), Reason: actor.Reason, Detail: versionsText(change.Gone)}, nil
	})
}

func versionsText(versions []model.SecretRef) string {
	words := make([]string, len(versions))
	for i, v := range versions {
		words[i] = strconv.FormatInt(v.Version, 10)
	}
	if len(words) == 1 {
		return "version " + words[0]
	}
	return "versions " + strings.Join(words, ", ")
}

// MaxRekeyFailures is how many of what could not be sealed anew are named.
const MaxRekeyFailures = 100

// Rekeyed is what became of sealing all values anew.
type Rekeyed struct {
	// Key is the id of the key that all are sealed with now, but those that failed, and Resealed how many were sealed with another.
	Key      string
	Resealed int
	// Failed says what could not be opened, and why, of the first MaxRekeyFailures; Failures is how many there are.
	Failed   []string
	Failures int
}

// fail notes a value that could not be opened.
func (r *Rekeyed) fail(of string, err error) {
	if r.Failures++; len(r.Failed) < MaxRekeyFailures {
		said := err.Error()
		if told, ok := errors.AsType[*model.Error](err); ok {
			said = told.Message // it names the secret, as of does
		}
		r.Failed = append(r.Failed, of+": "+said)
	}
}

// RekeySecrets seals every value anew that is not sealed with the first key. What cannot be opened keeps nobody else's from that: it is passed over, and told. It goes on from where it
// was when it is called again.
func (s *Service) RekeySecrets(ctx context.Context, actor Actor) (Rekeyed, error) {
	var done Rekeyed
	if err := s.may(ctx, Act{Verb: VerbRekeySecrets, Object: "secrets"}); err != nil {
		return done, err
	}
	if err := actor.check("secrets"); err != nil {
		return done, err
	}
	if err := s.Ready(); err != nil {
		return done, err
	}
	var err error
	if done.Key, err = s.keys.First(); err != nil {
		return done, err
	}
	for after := ""; ; {
		page, err := s.store.ListSecrets(ctx, "", after, loadPage)
		if err != nil {
			return done, err
		}
		for _, one := range page {
			if err := s.rekey(ctx, actor, one, &done); err != nil {
				return done, err
			}
			after = string(one.Layer) + "\n" + one.Name
		}
		if len(page) < loadPage {
			return done, nil
		}
	}
}

// errNothingToReseal ends a change that changes nothing.
var errNothingToReseal = errors.New("no value of it is sealed anew")

// rekey seals those values of a secret anew that need it.
func (s *Service) rekey(ctx context.Context, actor Actor, one model.KeptSecret, done *Rekeyed) error {
	first := done.Key
	if !slices.ContainsFunc(one.Versions, func(v model.SecretVersion) bool { return v.Key != first }) {
		return nil
	}
	resealed, failed := 0, Rekeyed{}
	_, err := s.changeSecret(ctx, one, func(have model.KeptSecret) (model.KeptSecretChange, model.AuditEntry, error) {
		change := model.KeptSecretChange{Secret: have, Sealed: map[model.SecretRef][]byte{}}
		change.Secret.Versions = slices.Clone(have.Versions)
		var of []model.SecretRef
		failed = Rekeyed{}
		for i, v := range have.Versions {
			if v.Key == first {
				continue
			}
			ref := have.Ref(v.Version)
			sealed, err := s.store.GetSealed(ctx, ref)
			if errors.Is(err, model.ErrNotFound) {
				now, rowErr := s.store.GetSecret(ctx, have.Layer, have.Name)
				if rowErr != nil {
					return change, model.AuditEntry{}, rowErr
				}
				if now.Ref(v.Version) != ref {
					continue // it was deleted meanwhile; what is written of this row is refused then, and worked out anew
				}
			} else if err != nil {
				return change, model.AuditEntry{}, err
			}
			var value []byte
			if err == nil {
				value, err = s.keys.Open(ref, sealed)
			}
			if err != nil {
				failed.fail(ref.String(), err)
				continue
			}
			var key string
			if change.Sealed[ref], key, err = s.keys.Seal(ref, value); err != nil {
				return change, model.AuditEntry{}, err
			}
			change.Secret.Versions[i].Key = key
			of = append(of, ref)
		}
		if resealed = len(of); resealed == 0 {
			return change, model.AuditEntry{}, errNothingToReseal
		}
		return change, model.AuditEntry{At: s.stamp(), Actor: actor.Name, Action: string(VerbRekeySecrets), Object: have.Object(), Reason: actor.Reason,
			Detail: fmt.Sprintf("%s, with the key %s", versionsText(of), first)}, nil
	})
	if err != nil && !errors.Is(err, errNothingToReseal) {
		return err
	}
	done.Resealed += resealed
	done.Failed = append(done.Failed, failed.Failed[:min(len(failed.Failed), MaxRekeyFailures-len(done.Failed))]...)
	done.Failures += failed.Failures
	return nil
}

// SecretValue is the value of a kept secret, for a node whose chain names it. Errors are *model.Error, and have nothing of the value.
func (s *Service) SecretValue(ctx context.Context, ref model.SecretRef) (string, error) {
	sealed, err := s.sealed.get(ref, func() ([]byte, error) { return s.store.GetSealed(ctx, ref) })
	if err != nil {
		return "", err
	}
	value, err := s.keys.Open(ref, sealed)
	if err != nil {
		s.sealed.drop(ref) // it may be sealed anew in the store
		return "", err
	}
	return string(value), nil
}

// pinSecrets gives each kept secret that a draft's configurations name its layer and version: the newest where none is said.
func (s *Service) pinSecrets(ctx context.Context, object, field string, layer model.Layer, specs []model.FilterSpec, known map[string]model.KeptSecret) error {
	for i := range specs {
		at := fmt.Sprintf("%s[%d].config", field, i)
		pinned, err := model.PinSecrets(specs[i].Config, func(use model.SecretUse) (model.SecretRef, error) {
			ref := use.Ref
			if !ref.Kept() {
				return ref, nil
			}
			one, is := known[ref.Name]
			if !is {
				var err error
				if one, err = s.store.GetSecret(ctx, layer, ref.Name); err != nil {
					return ref, err
				}
				known[ref.Name] = one
			}
			if ref.Layer = layer; ref.Version == 0 && len(one.Versions) > 0 {
				ref.Version = one.Versions[len(one.Versions)-1].Version
			}
			version, there := one.Find(ref.Version)
			if !there || ref.ID != "" && ref.ID != version.ID {
				what := fmt.Sprintf("layer %s has no secret %s", layer, ref.Name)
				switch {
				case there:
					what = fmt.Sprintf("the secret %s of layer %s has a version %d, and it is not the one with the id %s, which had that number before a backup was restored", ref.Name, layer, ref.Version, ref.ID)
				case len(one.Versions) > 0:
					what = fmt.Sprintf("the secret %s of layer %s has no version %d", ref.Name, layer, ref.Version)
				}
				return ref, &model.Error{Kind: model.ErrNotFound, Object: object, Field: at + use.Path, Message: what,
					Next: fmt.Sprintf("set it first (waft secret set %s --layer %s), or see waft secret list", ref.Name, layer)}
			}
			ref.ID = version.ID
			return ref, nil
		})
		if err != nil {
			return err
		}
		specs[i].Config = pinned
	}
	return nil
}

// secretsCheck is what checkSecrets looks through. It is comparable: one that is as it was needs no other look.
type secretsCheck struct {
	object string
	id     model.ReleaseID
	// removed is how often somebody had removed a version before.
	removed int64
}

// secretsToCheck is what is to be looked through before a rollout starts, and the secrets; none: there is nothing to. The drive loop asks, in which versions are removed that a release names.
func (s *Service) secretsToCheck(e *entry) (secretsCheck, []model.SecretRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := secretsCheck{object: "rollout/" + e.state.Name, id: e.state.Spec.Release, removed: s.secretsRemoved.Load()}
	return of, s.releases[of.id].KeptSecrets()
}

// checkSecrets says why a rollout of a release must not start: a kept secret that it names is not there, or cannot be opened here.
func (s *Service) checkSecrets(ctx context.Context, of secretsCheck, refs []model.SecretRef) error {
	object, id := of.object, of.id
	for _, ref := range refs {
		if _, err := s.SecretValue(ctx, ref); err != nil {
			told, ok := errors.AsType[*model.Error](err)
			if !ok {
				return err
			}
			said := *told
			said.Object, said.Field, said.Message = object, "spec.release", fmt.Sprintf("%s names the secret %s: %s", id, ref, told.Message)
			if said.Kind == model.ErrNotFound {
				said.Kind, said.Next = model.ErrPrecondition, "create a release that names a version which is there (waft secret show "+ref.Name+")"
			}
			return &said
		}
	}
	return nil
}

// tryKeys says in the log, at the start, what of the kept secrets cannot be opened here: it tries one value for each key.
func (s *Service) tryKeys(ctx context.Context) {
	tried := map[string]bool{}
	for after := ""; ; {
		page, err := s.store.ListSecrets(ctx, "", after, loadPage)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("it was not found out whether the secrets can be opened", "error", err)
			}
			return
		}
		for _, one := range page {
			after = string(one.Layer) + "\n" + one.Name
			for _, v := range one.Versions {
				if tried[v.Key] {
					continue
				}
				tried[v.Key] = true
				if _, err := s.SecretValue(ctx, one.Ref(v.Version)); err != nil && ctx.Err() == nil {
					s.log.Error("secrets cannot be opened: nodes that need them keep what they have", "key", v.Key, "error", err)
				}
			}
		}
		if len(page) < loadPage {
			return
		}
	}
}

// noKeys is a distributor without any.
type noKeys struct{}

func errNoKeys() error {
	return &model.Error{Kind: model.ErrPrecondition, Object: "waft serve", Message: "it has no key for secrets", Next: "give it a file with one (--secret-key), the same at all replicas"}
}

func (noKeys) First() (string, error) { return "", errNoKeys() }

func (noKeys) Seal(model.SecretRef, []byte) ([]byte, string, error) { return nil, "", errNoKeys() }

func (noKeys) Open(model.SecretRef, []byte) ([]byte, error) { return nil, errNoKeys() }
