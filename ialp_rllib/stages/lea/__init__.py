"""The stages of `ialp lea`, after `prepare`: what each row is trained with, and by which recommender."""
