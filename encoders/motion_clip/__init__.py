"""The ``motionclip`` encoder: one tower over 272 features beside CLIP's text tower; loads the published folder, or trains."""
