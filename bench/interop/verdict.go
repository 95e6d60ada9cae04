package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// tampering is a change to what stands beside a signed artifact. cosign and waft must come to the same verdict, the one that is expected.
type tampering struct {
	name string
	good bool
	// bundle and layer give what is put there in the place of the untouched signature, in each form; nil where the case is not of that form.
	bundle func(s signatures) ([]registry.Attachment, error)
	layer  func(s signatures) ([]registry.SidecarLayer, error)
	// other verifies with the key that signed nothing.
	other bool
}

// signatures are what was made for an artifact, ours, and for another one.
type signatures struct {
	bundle, theirs registry.Attachment
	layer, foreign registry.SidecarLayer
	ours, another  registry.Digest
	// sign signs a message with our key.
	sign func(message []byte) ([]byte, error)
}

const signatureAnnotation = "dev.cosignproject.cosign/signature"

func attachments(all ...registry.Attachment) ([]registry.Attachment, error) { return all, nil }
func sidecar(all ...registry.SidecarLayer) ([]registry.SidecarLayer, error) { return all, nil }
func one(a registry.Attachment, err error) ([]registry.Attachment, error) {
	return []registry.Attachment{a}, err
}
func oneLayer(l registry.SidecarLayer, err error) ([]registry.SidecarLayer, error) {
	return []registry.SidecarLayer{l}, err
}

func tamperings() []tampering {
	return []tampering{
		{name: "nothing is there", bundle: func(signatures) ([]registry.Attachment, error) { return nil, nil },
			layer: func(signatures) ([]registry.SidecarLayer, error) { return nil, nil }},
		{name: "untouched", good: true, bundle: func(s signatures) ([]registry.Attachment, error) { return attachments(s.bundle) },
			layer: func(s signatures) ([]registry.SidecarLayer, error) { return sidecar(s.layer) }},
		{name: "another key is asked for", other: true, bundle: func(s signatures) ([]registry.Attachment, error) { return attachments(s.bundle) },
			layer: func(s signatures) ([]registry.SidecarLayer, error) { return sidecar(s.layer) }},
		{name: "the payload's digest is changed", bundle: func(s signatures) ([]registry.Attachment, error) {
			return one(changeStatement(s.theirs, s.another.Hex(), s.ours.Hex()))
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			l := s.foreign
			l.Data = bytes.ReplaceAll(l.Data, []byte(s.another), []byte(s.ours))
			return sidecar(l)
		}},
		{name: "the signature's bytes are changed", bundle: func(s signatures) ([]registry.Attachment, error) {
			return one(changeSignature(s.bundle, flip))
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			return oneLayer(changeLayerSignature(s.layer, flip))
		}},
		{name: "the signature is cut short", bundle: func(s signatures) ([]registry.Attachment, error) {
			return one(changeSignature(s.bundle, half))
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			return oneLayer(changeLayerSignature(s.layer, half))
		}},
		{name: "the signature is empty", bundle: func(s signatures) ([]registry.Attachment, error) {
			return one(changeSignature(s.bundle, none))
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			return oneLayer(changeLayerSignature(s.layer, none))
		}},
		{name: "moved here from another artifact", bundle: func(s signatures) ([]registry.Attachment, error) { return attachments(s.theirs) },
			layer: func(s signatures) ([]registry.SidecarLayer, error) { return sidecar(s.foreign) }},
		{name: "the file is cut short", bundle: func(s signatures) ([]registry.Attachment, error) {
			a := s.bundle
			a.Data = half(a.Data)
			return attachments(a)
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			l := s.layer
			l.Data = half(l.Data)
			return sidecar(l)
		}},
		{name: "the type of what is signed is changed", bundle: func(s signatures) ([]registry.Attachment, error) {
			return one(changeBundle(s.bundle, func(b map[string]any) error {
				b["dsseEnvelope"].(map[string]any)["payloadType"] = "application/json"
				return nil
			}))
		}},
		{name: "the bundle's hint at a key is another", good: true, bundle: func(s signatures) ([]registry.Attachment, error) {
			return one(changeBundle(s.bundle, func(b map[string]any) error {
				b["verificationMaterial"].(map[string]any)["publicKey"].(map[string]any)["hint"] = "somebody else"
				return nil
			}))
		}},
		{name: "a bad one stands before a good one", good: true, bundle: func(s signatures) ([]registry.Attachment, error) {
			wrong, err := changeSignature(s.bundle, flip)
			return []registry.Attachment{wrong, s.bundle}, err
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			wrong, err := changeLayerSignature(s.layer, flip)
			return []registry.SidecarLayer{wrong, s.layer}, err
		}},
		{name: "a good one stands before a bad one", good: true, bundle: func(s signatures) ([]registry.Attachment, error) {
			wrong, err := changeSignature(s.bundle, flip)
			return []registry.Attachment{s.bundle, wrong}, err
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			wrong, err := changeLayerSignature(s.layer, flip)
			return []registry.SidecarLayer{s.layer, wrong}, err
		}},
		{name: "another annotation is added", good: true, bundle: func(s signatures) ([]registry.Attachment, error) {
			a := s.bundle
			a.Annotations = withAnnotation(a.Annotations, "example.com/note", "anybody may write this")
			return attachments(a)
		}, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			l := s.layer
			l.Annotations = withAnnotation(l.Annotations, "example.com/note", "anybody may write this")
			return sidecar(l)
		}},
		{name: "the annotation of the signature is gone", layer: func(s signatures) ([]registry.SidecarLayer, error) {
			l := s.layer
			l.Annotations = map[string]string{}
			return sidecar(l)
		}},
		{name: "the layer's media type is another", good: true, layer: func(s signatures) ([]registry.SidecarLayer, error) {
			l := s.layer
			l.MediaType = "application/json"
			return sidecar(l)
		}},
		// What our key has signed, and means something else.
		{name: "a statement with two subjects, ours the second", good: true, bundle: func(s signatures) ([]registry.Attachment, error) {
			return s.statement(statement, subject(s.another)+","+subject(s.ours), signing.PredicateSignature)
		}},
		{name: "a statement about nothing", bundle: func(s signatures) ([]registry.Attachment, error) {
			return s.statement(statement, "", signing.PredicateSignature)
		}},
		{name: "a statement of the right subject's sha512", bundle: func(s signatures) ([]registry.Attachment, error) {
			return s.statement(statement, fmt.Sprintf(`{"name":"","digest":{"sha512":%q}}`, s.ours.Hex()), signing.PredicateSignature)
		}},
		{name: "a statement that is no JSON", bundle: func(s signatures) ([]registry.Attachment, error) { return s.statement("signed") }},
		{name: "a payload that is no JSON", layer: func(s signatures) ([]registry.SidecarLayer, error) { return s.payload("signed") }},
		{name: "a payload without a digest", layer: func(s signatures) ([]registry.SidecarLayer, error) {
			return s.payload(`{"critical":{"identity":{"docker-reference":""},"image":{},"type":"cosign container image signature"},"optional":null}`)
		}},
	}
}

const statement = `{"_type":"https://in-toto.io/Statement/v1","subject":[%s],"predicateType":%q,"predicate":{}}`

func subject(d registry.Digest) string {
	return fmt.Sprintf(`{"name":"","digest":{"sha256":%q}}`, d.Hex())
}

func flip(sig []byte) []byte {
	sig = slices.Clone(sig)
	sig[len(sig)-1] ^= 1
	return sig
}

func half(data []byte) []byte { return data[:len(data)/2] }

func none([]byte) []byte { return nil }

func withAnnotation(m map[string]string, key, value string) map[string]string {
	all := map[string]string{key: value}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// changeBundle changes a bundle's JSON.
func changeBundle(a registry.Attachment, change func(map[string]any) error) (registry.Attachment, error) {
	var b map[string]any
	if err := json.Unmarshal(a.Data, &b); err != nil {
		return a, err
	}
	if err := change(b); err != nil {
		return a, err
	}
	data, err := json.Marshal(b)
	a.Data = data
	return a, err
}

func changeSignature(a registry.Attachment, change func([]byte) []byte) (registry.Attachment, error) {
	return changeBundle(a, func(b map[string]any) error {
		sig := b["dsseEnvelope"].(map[string]any)["signatures"].([]any)[0].(map[string]any)
		raw, err := base64.StdEncoding.DecodeString(sig["sig"].(string))
		sig["sig"] = base64.StdEncoding.EncodeToString(change(raw))
		return err
	})
}

// changeStatement changes the statement in a bundle and leaves the signature as it is.
func changeStatement(a registry.Attachment, from, to string) (registry.Attachment, error) {
	return changeBundle(a, func(b map[string]any) error {
		envelope := b["dsseEnvelope"].(map[string]any)
		statement, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
		if err != nil || !strings.Contains(string(statement), from) {
			return errors.Join(err, fmt.Errorf("the statement %s does not name %s", statement, from))
		}
		envelope["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(string(statement), from, to)))
		return nil
	})
}

func changeLayerSignature(l registry.SidecarLayer, change func([]byte) []byte) (registry.SidecarLayer, error) {
	raw, err := base64.StdEncoding.DecodeString(l.Annotations[signatureAnnotation])
	l.Annotations = withAnnotation(map[string]string{}, signatureAnnotation, base64.StdEncoding.EncodeToString(change(raw)))
	return l, err
}

// verdicts has cosign and waft judge every tampering, in both forms.
func (w *workshop) verdicts(ctx context.Context, registryName string, done func(cell)) ([]cell, error) {
	c, err := registry.NewClient(registry.Config{PlainHTTP: []string{w.endpoint.Host}})
	if err != nil {
		return nil, err
	}
	s, err := w.signed(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("sign what is to be tampered with: %w", err)
	}
	var cells []cell
	for i, tc := range tamperings() {
		for _, form := range forms {
			at := cell{Registry: registryName + ", signatures tampered with", Client: "cosign and waft", Direction: tc.name, Layout: string(form)}
			if form == signing.FormBundle && tc.bundle == nil || form == signing.FormTag && tc.layer == nil {
				at.OK, at.Reason = ruled, "this form has no such thing"
			} else {
				at = at.judge(w.verdict(ctx, c, s, tc, form, fmt.Sprintf("verdicts/%d%s", i, form)))
			}
			cells = append(cells, at)
			done(at)
		}
	}
	return cells, context.Cause(ctx)
}

// signed publishes two artifacts, signs them, and takes their signatures.
func (w *workshop) signed(ctx context.Context, c *registry.Client) (signatures, error) {
	var s signatures
	take := func(ref string, bundle *registry.Attachment, layer *registry.SidecarLayer, digest *registry.Digest) error {
		if _, err := w.waft(ctx, "sign", ref, "--key", w.key); err != nil {
			return err
		}
		at, err := registry.ParseReference(ref)
		if err != nil {
			return err
		}
		a, err := c.Resolve(ctx, at)
		if err != nil {
			return err
		}
		*digest = a.Digest
		list, err := c.Referrers(ctx, a, "application/vnd.dev.sigstore.bundle.v0.3+json")
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%d bundles: %w", len(list), err)
		}
		if *bundle, err = c.ReadReferrer(ctx, a, list[0]); err != nil {
			return err
		}
		layers, err := c.Sidecar(ctx, a, "sig", 1)
		if err != nil || len(layers) != 1 {
			return fmt.Errorf("%d signatures at the tag: %w", len(layers), err)
		}
		*layer = layers[0]
		return nil
	}
	signer, err := signing.LoadSigner(w.key, func() ([]byte, error) { return []byte{}, nil })
	if err != nil {
		return s, err
	}
	s.sign = func(message []byte) ([]byte, error) { return signer.Sign(ctx, message) }
	ours, another := w.ref("verdicts/ours", "1"), w.ref("verdicts/another", "1")
	if _, err := w.waft(ctx, "push", w.module, ours); err != nil {
		return s, err
	}
	if _, err := w.waft(ctx, "push", w.module, another, "--layout", "compat"); err != nil {
		return s, err
	}
	return s, errors.Join(take(ours, &s.bundle, &s.layer, &s.ours), take(another, &s.theirs, &s.foreign, &s.another))
}

// verdict puts the signatures of one case beside the artifact, and asks both.
func (w *workshop) verdict(ctx context.Context, c *registry.Client, s signatures, tc tampering, form signing.Form, repository string) error {
	ref := w.ref(repository, "1")
	if _, err := w.run(ctx, w.dir, w.tools.oras, "copy", "--from-plain-http", "--to-plain-http", w.ref("verdicts/ours", "1"), ref); err != nil {
		return err
	}
	at, err := registry.ParseReference(ref)
	if err != nil {
		return err
	}
	a, err := c.Resolve(ctx, at)
	if err != nil {
		return err
	}
	if form == signing.FormBundle {
		all, err := tc.bundle(s)
		if err != nil {
			return err
		}
		for _, att := range all {
			if _, err := c.Attach(ctx, a, att); err != nil {
				return err
			}
		}
	} else {
		all, err := tc.layer(s)
		if err != nil {
			return err
		}
		for _, l := range all {
			if err := c.AppendSidecar(ctx, a, "sig", l); err != nil {
				return err
			}
		}
	}
	pub := w.pub
	if tc.other {
		pub = w.otherPub
	}
	by := a.Reference.InRepository().AtDigest(a.Digest).String()
	_, cosignErr := w.cosignVerifyWith(ctx, by, form, pub)
	_, waftErr := w.waft(ctx, "verify", by, "--key", pub)
	if (cosignErr == nil) != tc.good || (waftErr == nil) != tc.good {
		return fmt.Errorf("good: %v; cosign says %v; waft says %v", tc.good, cosignErr, waftErr)
	}
	return nil
}

// statement is a bundle whose statement our key has signed, whatever it says.
func (s signatures) statement(format string, args ...any) ([]registry.Attachment, error) {
	text := fmt.Sprintf(format, args...)
	sig, err := s.sign(dsse.PAE("application/vnd.in-toto+json", []byte(text)))
	if err != nil {
		return nil, err
	}
	return one(changeBundle(s.bundle, func(b map[string]any) error {
		envelope := b["dsseEnvelope"].(map[string]any)
		envelope["payload"] = base64.StdEncoding.EncodeToString([]byte(text))
		envelope["signatures"] = []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(sig)}}
		return nil
	}))
}

// payload is a layer whose payload our key has signed, whatever it says.
func (s signatures) payload(format string, args ...any) ([]registry.SidecarLayer, error) {
	l := s.layer
	l.Data = fmt.Appendf(nil, format, args...)
	sig, err := s.sign(l.Data)
	l.Annotations = map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(sig)}
	return []registry.SidecarLayer{l}, err
}
