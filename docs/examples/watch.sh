bayescale watch history.csv --schedule cosine --final-step 50000 --target 2.8
