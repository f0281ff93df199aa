"""What does merging gain, and what does knowing the task gain?"""
