"""Reading, querying and cutting the programs inside Paddle inference folders, without Paddle."""
