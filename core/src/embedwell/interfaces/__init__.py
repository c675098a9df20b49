"""What rooms and plugins share: Structs and Protocols, no behaviour to speak of."""
