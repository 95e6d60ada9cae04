package main

import "strings"

// ibanLengths are how many characters the IBANs of each country have (ISO 13616, SWIFT's IBAN registry).
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
	"CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22,
	"GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30,
	"KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
	"MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
	"RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
	"UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// nextIBAN finds an international bank account number.
func nextIBAN(s string, from int) (start, end int, ok bool) {
	for i := from; i+4 < len(s); i++ {
		if isLetter(s[i]) && isLetter(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]) && freeBefore(s, i) {
			if end, ok := ibanAt(s, i); ok {
				return i, end, true
			}
		}
	}
	return 0, 0, false
}

// ibanAt is the end of the IBAN that begins at i: as long as its country's are, in one piece or in groups of four with a space between,
// with the right check digits.
func ibanAt(s string, i int) (int, bool) {
	length := ibanLengths[strings.ToUpper(s[i:i+2])]
	if length == 0 {
		return 0, false
	}
	var iban [34]byte
	n, at := 0, i
	for n < length {
		if n > 0 && n%4 == 0 && at < len(s) && s[at] == ' ' {
			at++
		}
		if at == len(s) || !isLetter(s[at]) && !isDigit(s[at]) {
			return 0, false
		}
		iban[n] = s[at]
		n, at = n+1, at+1
	}
	return at, freeBehind(s, at) && ibanChecks(iban[:length])
}

// ibanChecks says whether the number that an IBAN makes, its first four characters behind the others and each letter two digits, leaves 1
// when divided by 97 (ISO/IEC 7064, MOD 97-10).
func ibanChecks(iban []byte) bool {
	rest := 0
	for i := range iban {
		c := iban[(i+4)%len(iban)]
		if isDigit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c|0x20-'a') + 10) % 97
		}
	}
	return rest == 1
}
