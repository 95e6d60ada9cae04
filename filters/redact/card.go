package main

// Bounds of a payment card's number, in digits (ISO/IEC 7812).
const (
	minCardDigits = 13
	maxCardDigits = 19
)

// nextCard finds the number of a payment card.
func nextCard(s string, from int) (start, end int, ok bool) {
	for i := from; i < len(s); {
		if !isDigit(s[i]) || !freeBefore(s, i) {
			i++
			continue
		}
		end, found := cardAt(s, i)
		if found {
			return i, end, true
		}
		i = end
	}
	return 0, 0, false
}

// cardAt looks for a card's number that begins at i: digits in groups, with one space or hyphen between. It gives the end of
// the number, or of the first group where there is none.
func cardAt(s string, i int) (int, bool) {
	var digits [maxCardDigits]byte
	n, end, firstGroup := 0, 0, 0
	for at := i; at < len(s); {
		for at < len(s) && isDigit(s[at]) {
			if n == maxCardDigits {
				return groupEnd(s, i, firstGroup, end)
			}
			digits[n] = s[at] - '0'
			n, at = n+1, at+1
		}
		if firstGroup == 0 {
			firstGroup = at
		}
		if n >= minCardDigits && (at == len(s) || !isWord(s[at])) && isCard(digits[:n]) {
			end = at
		}
		if at+1 >= len(s) || s[at] != ' ' && s[at] != '-' || !isDigit(s[at+1]) {
			break
		}
		at++
	}
	return groupEnd(s, i, firstGroup, end)
}

// groupEnd is the end of what was found, or else of the group of digits that i begins.
func groupEnd(s string, i, firstGroup, end int) (int, bool) {
	if end > 0 {
		return end, true
	}
	if firstGroup > 0 {
		return firstGroup, false
	}
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i, false
}

// isCard says whether digits are the number of a payment card: those begin with 2 to 6, which leaves times in milliseconds
// out, and end with a check digit (Luhn's, ISO/IEC 7812-1, annex B).
func isCard(digits []byte) bool {
	if digits[0] < 2 || digits[0] > 6 {
		return false
	}
	sum := 0
	for i, d := range digits {
		v := int(d)
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}
