package otphttp

// CheckBuiltinPages renders the trial pages of the built-in words and template,
// which [New] does not.
func CheckBuiltinPages() error {
	p, err := newPages(&Options{})
	if err != nil {
		return err
	}
	for _, w := range p.languages.All() {
		if _, err := readBuiltin(w.lang); err != nil {
			return err
		}
	}
	p.custom = true
	return p.probe("Example")
}
