"""What single items tell: distributions, multitrait scaling, content validity."""
