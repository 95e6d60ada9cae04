package main

// ssnForm is how a social security number of the United States is written; 9 stands for a digit. Nine digits in one piece are too many
// other things.
const ssnForm = "999-99-9999"

// nextSSN finds a social security number of the United States.
func nextSSN(s string, from int) (start, end int, ok bool) {
	for i := from; i+len(ssnForm) <= len(s); i++ {
		end := i + len(ssnForm)
		if isSSN(s[i:end]) && freeBefore(s, i) && (i == 0 || s[i-1] != '-') && freeBehind(s, end) && (end == len(s) || s[end] != '-') {
			return i, end, true
		}
	}
	return 0, 0, false
}

// isSSN says whether a text has the form and no part that is never given out: 000, 666 and 9xx in front, 00 and 0000 behind
// (Social Security Administration, RM 10201.035).
func isSSN(s string) bool {
	for i := range len(ssnForm) {
		if isDigit(s[i]) != (ssnForm[i] == '9') || !isDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s[:3] != "000" && s[:3] != "666" && s[0] != '9' && s[4:6] != "00" && s[7:] != "0000"
}
