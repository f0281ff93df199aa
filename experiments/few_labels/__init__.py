"""What does a merged space save in labels?"""
