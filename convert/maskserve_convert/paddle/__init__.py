"""Read, cut and write the programs in Paddle inference folders, without Paddle."""
