package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxOriginBytes is the size of a module's SBOM, and of its provenance.
const MaxOriginBytes = 4 << 20

// Origin is what Build says of what a module was made of, and how.
type Origin struct {
	// SBOM is the list of Go modules, of type SBOMMediaType. Nil: none.
	SBOM []byte
	// Provenance is the statement, of type ProvenanceMediaType, and Predicate what it says, of type ProvenanceType. Nil: none.
	Provenance, Predicate []byte
}

// ReadOrigin reads what Build wrote beside a module, as far as it is there, and compares it with the module's digest. Errors
// about what it holds are ErrManifest.
func ReadOrigin(modulePath, sha256 string) (Origin, error) {
	base := strings.TrimSuffix(modulePath, filepath.Ext(modulePath))
	var o Origin
	var err error
	if o.SBOM, err = readBeside(base + SBOMSuffix); err != nil {
		return Origin{}, err
	}
	if o.SBOM != nil {
		var bom struct {
			Metadata struct {
				Component struct {
					Hashes []struct{ Alg, Content string }
				}
			}
		}
		err := json.Unmarshal(o.SBOM, &bom)
		hashes := bom.Metadata.Component.Hashes
		if err != nil || len(hashes) != 1 || hashes[0].Alg != "SHA-256" || hashes[0].Content != sha256 {
			return Origin{}, otherModule(base+SBOMSuffix, modulePath, err)
		}
	}
	if o.Provenance, err = readBeside(base + ProvenanceSuffix); err != nil {
		return Origin{}, err
	}
	if o.Provenance != nil {
		var st struct {
			Subject []struct {
				Digest map[string]string
			}
			PredicateType string
			Predicate     json.RawMessage
		}
		err := json.Unmarshal(o.Provenance, &st)
		if err != nil || len(st.Subject) != 1 || st.Subject[0].Digest["sha256"] != sha256 || st.PredicateType != ProvenanceType {
			return Origin{}, otherModule(base+ProvenanceSuffix, modulePath, err)
		}
		o.Predicate = st.Predicate
	}
	return o, nil
}

func otherModule(path, modulePath string, err error) error {
	detail := "it does not describe " + modulePath
	if err != nil {
		detail = err.Error()
	}
	return &Error{Subject: path, Kind: ErrManifest, Detail: detail, Next: "run `waft build` again, or remove the file", Err: err}
}

// readBeside reads a file that need not be there.
func readBeside(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what a module was made of: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxOriginBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read what a module was made of: %w", err)
	}
	if len(data) > MaxOriginBytes {
		return nil, &Error{Subject: path, Kind: ErrManifest, Detail: fmt.Sprintf("over the limit of %d bytes", MaxOriginBytes), Next: "run `waft build` again, or remove the file"}
	}
	return data, nil
}
