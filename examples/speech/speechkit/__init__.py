"""What the stages of the speech example compute: pure functions over samples, words and text, without StageIO."""
