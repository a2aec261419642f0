package seal

// Made by the first version, with its random parts.
const (
	goldenKey    = "eO2sctbS3VqqUusQvUC1Vw"
	goldenSealed = "r/7Gl4itBBEBsozMAxz3RS1DyhmFpDEjjOUBZyOKiXdquPHJaP1SlQ=="
	goldenID     = "eO2sctbS3VqqUusQvUC1V2NPTUQikfVfmmefXqHNsZ_Lx4OpAP_Usnxc36kFPLgL"
	goldenDevice = "AAAAAGw3IACbRLcvDWg9Zuw2wHEbtaR7K5bbYIw2f61IKbQ-4mecFg"
)
