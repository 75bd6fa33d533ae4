"""Questions: what no program can know of a study. `statements` of report.json hold the answers, by these keys."""

from __future__ import annotations

from collections.abc import Iterable

from lesion.words import listed, nearest, shortened

QUESTIONS = {
    "intended_use": "Intended use: for which patients, by whom, at which step of care, for which decision?",
    "context": "Clinical context: why is the model needed, and which tests or models exist?",
    "users": "Users: what must they know, and what do they do with the answer?",
    "objectives": "Objectives: development, evaluation or both, and which hypotheses?",
    "design": "Design: were the data collected before (retrospective) or for this study (prospective)?",
    "data_source": "Sources: where do the images come from, are any public or synthetic, whom do they represent?",
    "setting": "Setting: which centres, how many, where?",
    "dates": "Dates: when were the images taken?",
    "eligibility": "Eligibility: who was included and excluded before the table was made?",
    "sampling": "Sampling: consecutive, random or convenience, and found how?",
    "treatments": "Treatments before or between images, if they matter.",
    "acquisition": "Acquisition: which cameras, dermatoscopes or scanners, makers, light, protocol?",
    "deidentification": "De-identification: how were images and table freed of identifiers?",
    "reference_standard": "Reference standard: how was the truth established, and why so?",
    "histopathology": "Histopathology: which labels of malignancy rest on it?",
    "annotators": "Annotators: who, with what experience, how many, with which tools?",
    "agreement": "Agreement: how far do annotators agree with each other and with themselves?",
    "blinding": "Blinding: what did those who set the truth know of the model, and of the patient?",
    "prespecified": "Which thresholds and categories were fixed before the results were seen?",
    "sample_size": "Sample size: how was it planned, and is it enough?",
    "severity": "Severity of disease in the ill, and other diagnoses in those without the condition.",
    "time_interval": "Time between the image and the reference standard, and what was done between.",
    "adverse_events": "Adverse events of taking images or of the reference standard.",
    "comparison": "Comparison: with clinicians, or with other models on the same images.",
    "inequalities": "Health inequalities that are known for this condition.",
    "fairness": "Fairness: what was done about it, and what it means here.",
    "interpretation": "Interpretation of the results beside earlier studies.",
    "limitations": "Limitations of the study beyond those that this report finds.",
    "impact": "Impact on the team and on patients, errors included.",
    "next_steps": "Next steps before use.",
    "ethics": "Ethics: committee, approval, consent or waiver.",
    "funding": "Funding, and the funders' role.",
    "conflicts": "Conflicts of interest.",
    "protocol": "Protocol: where it can be read, or that there is none.",
    "registration": "Registration: register and number, or that there is none.",
    "data_availability": "Availability of the data.",
    "code_availability": "Availability of the code of the analysis.",
    "model_access": "Access to the model, and its licence.",
    "public_involvement": "Involvement of patients and the public.",
    "manuscript": "Title and abstract of the manuscript.",
}


def unknown_keys(keys: Iterable[str]) -> str | None:
    """In words, which keys of statements are none of these, with the most similar one and the whole list; None if all
    are known: a statement under another key would stand nowhere, and nobody would see that it is missing.
    """
    unknown = [key for key in keys if key not in QUESTIONS]
    if not unknown:
        return None
    told = []
    for key in unknown:
        hint = nearest(key, QUESTIONS)
        told.append(f"'{shortened(key, 40)}'" + (f" (did you mean {hint}?)" if hint else ""))
    return f"no question has the key {listed(told)}; the keys are {', '.join(QUESTIONS)}"
