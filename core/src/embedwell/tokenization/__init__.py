"""From texts and token lists to checked sequences of ids."""
