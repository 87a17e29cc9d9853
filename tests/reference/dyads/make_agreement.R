# Agreement of two raters: run in this folder with `Rscript make_agreement.R`. Writes agreement.json.
library(psych); library(vcd); library(lme4); library(jsonlite)
icc_table <- function(x) {
  r <- ICC(as.data.frame(x), lmer = FALSE)$results
  list(ratings = unname(as.matrix(x)), type = r$type, icc = r$ICC, f = r$F, df1 = r$df1, df2 = r$df2,
       lower = r$`lower bound`, upper = r$`upper bound`)
}
kappa_table <- function(tab) {
  k <- Kappa(tab, weights = "Fleiss-Cohen"); u <- k$Weighted
  list(table = unname(matrix(as.numeric(tab), nrow(tab))), value = unname(u["value"]), ase = unname(u["ASE"]))
}
# Gwet's AC2 from its definition (Gwet 2014), cell by cell.
ac2_table <- function(tab) {
  p <- tab / sum(tab); q <- nrow(p); n <- sum(tab)
  w <- 1 - outer(1:q, 1:q, "-")^2 / (q - 1)^2
  share <- (rowSums(p) + colSums(p)) / 2
  agreed <- sum(w * p); chance <- sum(w) * sum(share * (1 - share)) / (q * (q - 1))
  ac <- (agreed - chance) / (1 - chance); total <- 0
  for (k in 1:q) for (l in 1:q)
    total <- total + p[k, l] * (w[k, l] - 2 * (1 - ac) * sum(w) * (1 - (share[k] + share[l]) / 2) / (q * (q - 1)))^2
  list(value = ac, se = sqrt((total - (agreed - 2 * (1 - ac) * chance)^2) / (n * (1 - chance)^2)))
}
data(SexualFun); data(MSPatients)
sleep <- reshape(sleepstudy, idvar = "Subject", timevar = "Days", direction = "wide")[, -1]
sf <- matrix(c(9,2,5,8, 6,1,3,2, 8,4,6,8, 7,1,2,6, 10,5,6,9, 6,2,4,7), ncol = 4, byrow = TRUE)
owm <- read.csv("owm.csv")
owm$d <- owm$C - owm$P; owm$m <- (owm$C + owm$P) / 2
nested <- lmer(d ~ 1 + (1 | cl), owm, control = lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12)))
line <- lm(d ~ m, owm); spread <- lm(abs(resid(line)) ~ m, owm)
tables <- list(sexual_fun = SexualFun, ms_winnipeg = MSPatients[, , 1], ms_new_orleans = MSPatients[, , 2])
reference <- list(
  versions = list(R = as.character(getRversion()), psych = as.character(packageVersion("psych")),
                  vcd = as.character(packageVersion("vcd")), lme4 = as.character(packageVersion("lme4"))),
  icc = list(shrout_fleiss = icc_table(sf), sleepstudy_days_0_1 = icc_table(sleep[, 1:2]),
             sleepstudy_all = icc_table(sleep), owm = icc_table(owm[, c("P", "C")])[-1]),
  kappa = lapply(tables, kappa_table), ac2 = lapply(tables, ac2_table),
  bland_altman = list(
    bias = mean(owm$d), sd = sd(owm$d),
    between_sd = as.data.frame(VarCorr(nested))$sdcor[1], within_sd = as.data.frame(VarCorr(nested))$sdcor[2],
    reml_log_likelihood = as.numeric(logLik(nested)),
    level = unname(summary(line)$coefficients[, c(1, 2, 4)]), spread = unname(summary(spread)$coefficients[, c(1, 2, 4)]))
)
write_json(reference, "agreement.json", digits = 12, auto_unbox = TRUE, pretty = TRUE)
